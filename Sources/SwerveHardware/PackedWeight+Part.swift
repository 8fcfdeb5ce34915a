internal import SwerveCore

extension PackedWeight {
  /// Rows and inputs of this matrix as a matrix of its own: the bytes that packing them alone would have given, but for
  /// scales of whole rows, which stay those of all inputs. Where the part lies together it is a view of this one's memory;
  /// else it is copied, on the calling thread.
  ///
  /// - Parameters:
  ///   - rows: outputs, one range under the other; with interleaved sources one range, of both.
  ///   - inputs: nil = all of them.
  ///   - segments: of the part.
  /// - Throws: `.shape` where a range does not begin and end with whole blocks (16 outputs; 32 inputs, one of plain float32, a
  ///   group of the 4-bit formats), `.outOfMemory`.
  package func part(
    rows: [Range<Int>], inputs range: Range<Int>? = nil, segments: Int, device: CPUDevice
  ) throws(HardwareError) -> PackedWeight {
    let taken = range ?? 0..<inputs
    try check(rows: rows, inputs: taken)
    let isWhole = taken == 0..<inputs
    let outputs = rows.reduce(0) { $0 + $1.count }
    let shape = PackedShape(
      format: format, layout: layout, outputs: outputs, inputs: taken.count, segments: segments, hasBias: hasBias)
    try Self.check(format, type: type, inputs: taken.count, segments: segments)
    if isWhole, rows.count == 1, let first = rows.first {
      return view(firstBlock: blocks(first).lowerBound, shape)
    }
    let storage = WeightStorage(try device.allocate(byteCount: shape.byteCount))
    var out = storage.buffer.pointer
    let step = Self.blockBytes(inputs: inputs, format: format)
    for range in rows {
      for block in blocks(range) {
        let from = self.storage.buffer.pointer + block * step
        if isWhole { out.copyMemory(from: from, byteCount: step) } else { copy(taken, of: from, to: out) }
        out += Self.blockBytes(inputs: taken.count, format: format)
      }
    }
    var ownBias: WeightStorage?
    if let bias {
      let copy = WeightStorage(try device.allocate(byteCount: shape.biasByteCount))
      var out = copy.buffer.pointer
      for range in rows {
        for block in blocks(range) {
          out.copyMemory(from: bias.buffer.pointer + block * 64, byteCount: 64)
          out += 64
        }
      }
      ownBias = copy
    }
    return PackedWeight(
      type: type, format: format, layout: layout, outputs: outputs, inputs: taken.count, segments: segments,
      storage: storage, bias: ownBias)
  }

  /// Blocks of 16 packed outputs that hold a range of outputs.
  private func blocks(_ range: Range<Int>) -> Range<Int> {
    let each = layout == .interleaved16 ? 2 : 1
    return range.lowerBound / 16 * each..<(range.upperBound + 15) / 16 * each
  }

  private func view(firstBlock: Int, _ shape: PackedShape) -> PackedWeight {
    let first = firstBlock * Self.blockBytes(inputs: inputs, format: format)
    let numbers = DeviceBuffer(viewing: storage.buffer.pointer + first, byteCount: shape.byteCount, of: storage)
    var ownBias: WeightStorage?
    if let bias {
      ownBias = WeightStorage(
        DeviceBuffer(viewing: bias.buffer.pointer + firstBlock * 64, byteCount: shape.biasByteCount, of: bias))
    }
    return PackedWeight(
      type: type, format: format, layout: layout, outputs: shape.outputs, inputs: inputs, segments: shape.segments,
      storage: WeightStorage(numbers), bias: ownBias)
  }

  private func check(rows: [Range<Int>], inputs range: Range<Int>) throws(HardwareError) {
    guard !rows.isEmpty, layout == .stacked || rows.count == 1 else {
      throw .shape("rows \(rows) are not a part of a \(layout) matrix")
    }
    for (index, range) in rows.enumerated() {
      let endsWhole = range.upperBound % 16 == 0 || range.upperBound == outputs && index == rows.count - 1
      guard range.lowerBound >= 0, range.upperBound <= outputs, !range.isEmpty, range.lowerBound % 16 == 0, endsWhole
      else { throw .shape("rows \(range) of \(outputs) are not whole blocks of 16 of a packed matrix") }
    }
    let unit = Self.inputUnit(format)
    guard range.lowerBound >= 0, range.upperBound <= inputs, !range.isEmpty else {
      throw .shape("columns \(range) are not a part of \(inputs)")
    }
    if range == 0..<inputs { return }
    guard !format.roundsRows else {
      throw .shape("\(format.name) rounds whole rows, so a product cannot be split over its inputs; use int8")
    }
    guard range.lowerBound % unit == 0, range.upperBound % unit == 0 || range.upperBound == inputs else {
      throw .shape("columns \(range) of \(inputs) are not whole groups of \(unit) of a matrix in \(format.name)")
    }
  }

  /// Inputs that lie together in a block.
  package static func inputUnit(_ format: WeightFormat) -> Int {
    format == .plain(.float32) ? 1 : format.group ?? 32
  }

  /// Some of the inputs of one block of 16 outputs.
  private func copy(
    _ range: Range<Int>, of block: UnsafeMutableRawPointer, to out: UnsafeMutableRawPointer
  ) {
    switch format {
    case .plain(.float32): out.copyMemory(from: block + range.lowerBound * 64, byteCount: range.count * 64)
    case .plain:
      out.copyMemory(from: block + range.lowerBound / 32 * 1024, byteCount: (range.count + 31) / 32 * 1024)
    case .int8:
      out.copyMemory(from: block, byteCount: 64)
      (out + 64).copyMemory(from: block + 64 + range.lowerBound / 32 * 512, byteCount: (range.count + 31) / 32 * 512)
    case .int8Dynamic, .int4Dynamic: preconditionFailure("checked before")
    case .int4(let group), .nf4(let group):
      for index in 0..<range.count / group {
        let from = Self.place(of: range.lowerBound / group + index, group: group)
        let to = Self.place(of: index, group: group)
        (out + to.scales).copyMemory(from: block + from.scales, byteCount: 32)
        (out + to.numbers).copyMemory(from: block + from.numbers, byteCount: group * 8)
      }
    }
  }

  /// Where a group's scales and numbers lie in a block: two groups share a line of scales.
  private static func place(of index: Int, group: Int) -> (scales: Int, numbers: Int) {
    let line = index / 2 * (64 + 2 * group * 8)
    return (line + index % 2 * 32, line + 64 + index % 2 * group * 8)
  }
}
