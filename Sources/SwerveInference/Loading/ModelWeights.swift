package import SwerveCore
package import SwerveHardware

/// A model's parameters as the device keeps them: matrices packed for its kernels, norms in float32, and the embedding
/// table packed where it is also the output head, else mapped from the file (a step reads only its tokens' rows).
/// Constant once loaded; or, but for norms and embedding, fetched for each step into a ring.
package final class ModelWeights {
  /// One decoder block.
  package struct Layer {
    /// f32 [1, hidden]
    package var inputNorm: Tensor
    /// [query + 2 key/value widths, hidden], stacked
    package var queryKeyValue: PackedWeight
    /// f32 [1, head size]; nil where the family has none
    package var queryNorm: Tensor?
    package var keyNorm: Tensor?
    /// [hidden, query width], cut into reduction shards
    package var output: PackedWeight
    /// f32 [1, hidden]
    package var postNorm: Tensor
    /// gate and up [intermediate, hidden], interleaved
    package var gateUp: PackedWeight
    /// [hidden, intermediate], cut into reduction shards
    package var down: PackedWeight
  }

  package enum Embedding {
    /// Any type [vocabulary, hidden]; the file stays mapped as long as the weights live.
    case mapped(Tensor, FileBytes)
    case packed(PackedWeight)
    /// Rows from `first` on, which the tensor ranks have among them; nil where this one has none.
    case shared(PackedWeight?, first: Int)
    /// Of a stage that receives rows instead of tokens.
    case elsewhere
  }

  package let embedding: Embedding
  /// Empty where layers are gathered.
  private let layers: [Layer]
  /// f32 [1, hidden]
  package let finalNorm: Tensor
  /// [the rank's tokens, hidden]; nil where it computes no logits. Where layers are gathered, its bytes are for rows of the
  /// embedding only.
  package let head: PackedWeight?
  /// nil: everything is resident.
  let gathered: GatheredWeights?
  /// f32: owner of all norms.
  private let norms: DeviceBuffer

  init(
    embedding: Embedding, layers: [Layer], finalNorm: Tensor, head: PackedWeight?, norms: consuming DeviceBuffer,
    gathered: GatheredWeights? = nil
  ) {
    self.embedding = embedding
    self.layers = layers
    self.finalNorm = finalNorm
    self.head = head
    self.norms = norms
    self.gathered = gathered
  }

  /// A layer's weights, which stay where they are until `release`; waits for them where they are fetched. One at a time.
  func layer(_ index: Int) throws(GatherError) -> Layer {
    if let gathered { return try gathered.layer(index) }
    return layers[index]
  }

  /// The layer has been computed.
  func releaseLayer() { gathered?.giveBack() }
}

extension ModelConfiguration {
  /// Fixed cuts of a row-parallel product's inputs, summed in a fixed tree, so that a tensor-parallel run can reproduce
  /// every bit: the largest power of two, at most 8, that divides the KV head count and every row-parallel input width in
  /// whole kernel tiles (32 inputs).
  package var reductionShards: Int {
    var shards = 8
    while shards > 1,
      keyValueHeadCount % shards != 0 || queryWidth % (32 * shards) != 0 || intermediateSize % (32 * shards) != 0
    {
      shards /= 2
    }
    return shards
  }

  /// Floats of all norms.
  var normElements: Int { hiddenSize + layerCount * layerNormElements }

  var layerNormElements: Int { 2 * hiddenSize + (family.queryKeyNorm ? 2 * headDim : 0) }
}
