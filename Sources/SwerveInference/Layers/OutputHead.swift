import SwerveCore
import SwerveHardware

/// From the residual stream to logits, for chosen rows only and a tile of them at a time, so that memory stays bounded
/// whatever the vocabulary. T = rows of a tile, P = the columns kept, padded to whole pieces of the sampler's statistics: a
/// rank of several has its own columns only, but for rank 0, which gathers all of them.
struct OutputHead {
  private let buffers: [BufferBox]
  let tileRows: Int
  /// Columns that `compute` fills, of those kept.
  private let columnCount: Int
  /// f32 [T, hidden]: the rows' residual stream
  private let hidden: Tensor
  /// A [T, hidden]
  private let normed: Tensor
  /// f32 [T, P]: logits; the padding is not read
  let logits: Tensor
  /// f32 [T, P]: the sampler's copy where raw logits must survive
  let work: Tensor

  /// - Parameter columns: tokens whose logits are computed here.
  init(
    _ c: ModelConfiguration, columns: Range<Int>, type: ElementType, tileRows: Int, device: CPUDevice
  ) throws(HardwareError) {
    var buffers: [BufferBox] = []
    func make(_ type: ElementType, _ columns: Int) throws(HardwareError) -> Tensor {
      let box = BufferBox(try device.allocate(byteCount: tileRows * columns * type.byteCount))
      buffers.append(box)
      return box.buffer.tensor(type, rows: tileRows, columns: columns)
    }
    self.tileRows = tileRows
    columnCount = columns.count
    hidden = try make(.float32, c.hiddenSize)
    normed = try make(type, c.hiddenSize)
    let padded = Sampler.paddedWidth(columns.lowerBound == 0 ? c.vocabularySize : columns.count)
    logits = try make(.float32, padded)
    work = try make(.float32, padded)
    self.buffers = buffers
  }

  /// Rows of a tile: 40 MiB of logits, at least 16 rows (a sequence with all its drafts), no more than there can be
  /// sequences (in whole row tiles).
  static func tileRows(vocabularySize: Int, sequences: Int) -> Int {
    let rowBytes = Sampler.paddedWidth(vocabularySize) * 4
    let fitting = max(16, (40 << 20) / rowBytes / 16 * 16)
    return min(fitting, (sequences + 15) / 16 * 16)
  }

  /// Bytes `init` allocates.
  static func byteCount(_ c: ModelConfiguration, type: ElementType, tileRows: Int) -> Int {
    let padded = Sampler.paddedWidth(c.vocabularySize)
    return tileRows * (c.hiddenSize * (4 + type.byteCount) + 2 * padded * 4)
  }

  /// Fills `logits` for the given rows of the residual stream, with what the sampler asked of each; answers those rows
  /// of the tile.
  ///
  /// - Throws: `GatherError` where the head is fetched and does not come.
  func compute(
    _ rows: Span<Int32>, of residual: Tensor, matrix: PackedWeight, gathered: GatheredWeights?, norm: Tensor,
    epsilon: Float, request: Sampler.HeadRequest, device: CPUDevice
  ) throws(GatherError) -> Tensor {
    let count = rows.count
    device.gatherRows(residual, indices: rows, into: hidden.first(count))
    device.rmsNorm(hidden.first(count), weight: norm, epsilon: epsilon, into: normed.first(count))
    let tile = logits.first(count)
    let used = tile.columns(0..<columnCount)
    if let gathered {
      try compute(normed.first(count), gathered, into: used, device: device)
      device.statistics(used, requests: request.requests, into: request.statistics)
    } else {
      device.head(
        normed.first(count), matrix, into: used, keepsLogits: request.keepsLogits, requests: request.requests,
        statistics: request.statistics)
    }
    return tile
  }

  /// Piece by piece, as they come: the bits are those of the whole.
  private func compute(
    _ rows: Tensor, _ gathered: GatheredWeights, into logits: Tensor, device: CPUDevice
  ) throws(GatherError) {
    for (index, outputs) in gathered.plan.headOutputs.enumerated() {
      let piece = try gathered.headPiece(index)
      device.linear(rows, piece, into: logits.columns(outputs))
      gathered.giveBack()
    }
  }
}
