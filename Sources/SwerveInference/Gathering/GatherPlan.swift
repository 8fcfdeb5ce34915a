// Weights that are not resident: each layer, and the output head in pieces, is fetched from a packed weight file (or
// from who holds it) before it is computed with. This folder says what is fetched and how its matrices lie in a buffer;
// the ring that fetches is the device's.
// Start with GatherPlan, then GatheredWeights.

package import SwerveCore
import SwerveHardware

/// What of a packed weight file is fetched as a whole, in which order, and how large the buffers are. A pure value: the
/// memory plan follows from it before anything is loaded.
package struct GatherPlan: Sendable, Hashable {
  /// Bytes of the file.
  package struct Extent: Sendable, Hashable {
    package var offset: Int
    package var byteCount: Int
  }

  /// [layers] each with the bytes of its matrices, which lie together.
  package let layers: [Extent]
  /// Pieces of the output head, of `headOutputs` outputs each but the last.
  package let headPieces: [Extent]
  package let headOutputs: [Range<Int>]
  /// Bytes of one buffer.
  package let slotBytes: Int
  /// Layers fetched ahead of the one in use.
  package let depth: Int
  /// Norms, which are resident.
  let normBytes: Int
  /// Rows of the embedding that are read where they lie in the file: its table, or the packed head that it is tied to.
  let embeddingBytes: Int

  /// Outputs of a piece are whole pieces of the sampler's statistics, and so begin at whole pages of the file.
  static let pieceOutputs = StatisticsTable.pieceWidth

  /// - Throws: a sentence where the file's layers do not lie together, as `swerve quantize` writes them.
  package init(
    _ index: PackedIndex, model: ModelConfiguration, depth: Int, path: String
  ) throws(ModelFileError) {
    func fail(_ reason: String) -> ModelFileError { ModelFileError(file: path, reason: reason) }
    let places = Dictionary(index.matrices.enumerated().map { ($1.name, $0) }) { first, _ in first }
    func matrix(_ name: String) throws(ModelFileError) -> PackedIndex.Matrix {
      guard let place = places[name] else {
        throw fail("matrix \(quoted(name)) is missing; write the file again from the weights of this config.json")
      }
      return index.matrices[place]
    }
    var layers: [Extent] = []
    for layer in 0..<model.layerCount {
      var regions: [PackedIndex.Region] = []
      for name in model.family.names.matrices(ofLayer: layer) {
        let found = try matrix(name)
        regions.append(found.numbers)
        if let bias = found.bias { regions.append(bias) }
      }
      let begin = regions.map(\.offset).min() ?? 0
      let end = regions.map { $0.offset + $0.byteCount }.max() ?? 0
      let bytes = regions.reduce(0) { $0 + $1.byteCount }
      guard end - begin <= bytes + 2 * PackedIndex.alignment * regions.count else {
        throw fail("the matrices of layer \(layer) do not lie together; write the file again with swerve quantize")
      }
      layers.append(Extent(offset: begin, byteCount: end - begin))
    }
    let head = try matrix(model.tiedEmbeddings ? model.family.names.embedding : model.family.names.head)
    guard head.shape.layout == .stacked, head.shape.segments == 1, head.bias == nil,
      head.shape.outputs == model.vocabularySize, head.shape.byteCount == head.numbers.byteCount
    else {
      throw fail(
        "its output head is not that of config.json; write the file again from the weights of this config.json")
    }
    let unit = PackedWeight.byteCount(
      outputs: Self.pieceOutputs, inputs: head.shape.inputs, format: head.shape.format)
    let largest = layers.reduce(0) { max($0, $1.byteCount) }
    let units = max(1, largest / unit)
    var pieces: [Extent] = []
    var outputs: [Range<Int>] = []
    for first in stride(from: 0, to: head.shape.outputs, by: units * Self.pieceOutputs) {
      let last = min(first + units * Self.pieceOutputs, head.shape.outputs)
      let begin = first / Self.pieceOutputs * unit
      let bytes = PackedWeight.byteCount(outputs: last - first, inputs: head.shape.inputs, format: head.shape.format)
      pieces.append(Extent(offset: head.numbers.offset + begin, byteCount: bytes))
      outputs.append(first..<last)
    }
    self.layers = layers
    headPieces = pieces
    headOutputs = outputs
    slotBytes = GatherItem.bufferBytes(pieces.reduce(largest) { max($0, $1.byteCount) })
    self.depth = depth
    normBytes = index.norms.byteCount
    embeddingBytes =
      model.tiedEmbeddings ? head.numbers.byteCount : index.tables.reduce(0) { $0 + $1.numbers.byteCount }
  }

  /// Everything a step fetches that goes through the head once.
  package var roundBytes: Int { (layers + headPieces).reduce(0) { $0 + $1.byteCount } }
  /// Bytes of the ring's buffers.
  package var ringBytes: Int { GatherRing.byteCount(depth: depth, slotBytes: slotBytes) }
  /// Bytes of weights in memory, whatever the model's size.
  var residentBytes: Int { ringBytes + normBytes }

  /// All there is to fetch, in the order of a step.
  var items: [GatherItem] { (layers + headPieces).map { GatherItem(offset: $0.offset, byteCount: $0.byteCount) } }
}

extension TensorNames {
  /// Names of a layer's matrices in a packed weight file: of the first tensor of each.
  func matrices(ofLayer index: Int) -> [String] {
    [query, output, gate, down].map { layer(index, $0) + ".weight" }
  }
}
