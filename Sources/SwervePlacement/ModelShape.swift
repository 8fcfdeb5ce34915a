// Where a model's parameters and request data could live on a machine, and what each way is predicted to cost. A pure
// room: sizes and rates in, estimates out; it measures nothing and starts nothing.
// Start with CostModel.swift (the formulas), then Planner.swift (who wins and why).

/// The sizes of a decoder model that costs depend on.
package struct ModelShape: Sendable, Hashable {
  package var name: String
  /// L
  package var layers: Int
  /// h
  package var hidden: Int
  /// Hq
  package var queryHeads: Int
  /// Hkv
  package var kvHeads: Int
  /// d
  package var headDim: Int
  package var intermediate: Int
  package var vocabulary: Int
  package var tiedEmbeddings: Bool
  /// Bytes of one weight as it is stored; 0.5 and a little for 4 bits.
  package var weightBytes: Double
  /// s: bytes of an activation at the seams.
  package var activationBytes: Double
  /// Bytes of a cached key or value.
  package var kvBytes: Double

  package init(
    name: String, layers: Int, hidden: Int, queryHeads: Int, kvHeads: Int, headDim: Int, intermediate: Int,
    vocabulary: Int, tiedEmbeddings: Bool = false, weightBytes: Double = 2, activationBytes: Double = 2,
    kvBytes: Double = 2
  ) {
    self.name = name
    self.layers = layers
    self.hidden = hidden
    self.queryHeads = queryHeads
    self.kvHeads = kvHeads
    self.headDim = headDim
    self.intermediate = intermediate
    self.vocabulary = vocabulary
    self.tiedEmbeddings = tiedEmbeddings
    self.weightBytes = weightBytes
    self.activationBytes = activationBytes
    self.kvBytes = kvBytes
  }

  /// Weights of one layer.
  package var layerWeights: Double {
    let query = queryHeads * headDim
    let kv = kvHeads * headDim
    return Double(hidden * (2 * query + 2 * kv) + 3 * hidden * intermediate)
  }

  package var headWeights: Double { Double(vocabulary * hidden) }

  package var layerBytes: Double { layerWeights * weightBytes }
  package var headBytes: Double { headWeights * weightBytes }
  /// W: bytes of all weights. An embedding of its own counts, though a step reads few of its rows.
  package var totalBytes: Double { Double(layers) * layerBytes + headBytes * (tiedEmbeddings ? 1 : 2) }
  /// What a step reads: W without an embedding of its own.
  package var stepBytes: Double { Double(layers) * layerBytes + headBytes }
  /// KV: bytes of keys and values of one token in all layers.
  package var tokenKVBytes: Double { Double(layers * 2 * kvHeads * headDim) * kvBytes }
  /// Operations of attention for one row over one token of context, in all layers.
  package var attentionOperations: Double { Double(layers * 4 * queryHeads * headDim) }

  package func blockBytes(tokens: Int) -> Double { tokenKVBytes * Double(tokens) }

  // MARK: Known shapes

  package static let llama8B = ModelShape(
    name: "8B", layers: 32, hidden: 4096, queryHeads: 32, kvHeads: 8, headDim: 128, intermediate: 14_336,
    vocabulary: 128_256)
  package static let llama70B = ModelShape(
    name: "70B", layers: 80, hidden: 8192, queryHeads: 64, kvHeads: 8, headDim: 128, intermediate: 28_672,
    vocabulary: 128_256)
  package static let llama405B = ModelShape(
    name: "405B", layers: 126, hidden: 16_384, queryHeads: 128, kvHeads: 8, headDim: 128, intermediate: 53_248,
    vocabulary: 128_256)
}
