package import SwerveCore
package import SwerveHardware

/// What a rank holds and computes of a model: its weights, its keys and values, its share of the decoder pass and of the
/// output head. One thread owns it.
package final class ModelShard {
  package let configuration: RunnerConfiguration
  /// Keys and values of this process; nil where attention is elsewhere.
  private let ownStore: KVStore?
  /// Blocks that plans may name, those of data workers included.
  let blockCount: Int
  /// Attention over the first blocks here and over the others with data workers; nil where there is one place.
  private let quota: QuotaAttention?
  private let excess: ExcessAttention?
  /// Of the pool, where its memory is not the device's.
  private let regionBytes: Int
  /// Sentences worth showing at start: unexpected tensors.
  package let warnings: [String]
  let device: CPUDevice
  let weights: ModelWeights
  private var forward: Forward
  /// The rank's columns of the output head; nil where it has none.
  let head: OutputHead?

  /// Loads the weights and allocates everything.
  ///
  /// - Parameters:
  ///   - files: not read for random weights.
  ///   - region: memory of the pool of keys and values, with what it holds; nil: the device's.
  ///   - attention: another place for keys and values and what reads them; then this process has neither pool nor places.
  ///   - excess: this process has a pool of `excess.quota` of the blocks, and that place has the others.
  ///   - links: to the other ranks, as the configuration's shape has them.
  ///   - watch: hears of each layer's keys and values, where those are in this process.
  ///   - progress: told the share of weights loaded, 0…1, on the calling thread.
  /// - Throws: `ModelFileError` for what is wrong with the model, `HardwareError` for memory.
  package init(
    _ configuration: RunnerConfiguration, files: ModelFiles, device: CPUDevice, blockCount: Int,
    lower: LowerPlaces = LowerPlaces(), region: MemoryRegion? = nil, attention remote: (any AttentionPort)? = nil,
    excess: ExcessAttention? = nil, links: RankLinks = RankLinks(), watch: (any LayerWatch)? = nil,
    progress: @escaping (Double) -> Void = { _ in }
  ) throws {
    let shape = configuration.shape
    let model = configuration.share
    let limits = configuration.limits
    let type = configuration.type
    self.configuration = configuration
    self.device = device
    let (source, warnings) = try WeightLoader.source(configuration, files: files)
    let policy = configuration.policy
    self.warnings = warnings + policy.warnings
    // Memory that is small and may be refused comes first, so that a refusal does not cost the loading time.
    let attention: any AttentionPort
    var quota: QuotaAttention?
    if let elsewhere = remote ?? (excess?.quota == 0 ? excess?.port : nil) {
      ownStore = nil
      attention = elsewhere
    } else {
      let layout = try model.layout(type: configuration.kvType, blockTokens: limits.blockTokens)
      let own = min(blockCount, excess?.quota ?? blockCount)
      let store = try KVStore(layout: layout, blockCount: own, device: device, lower: lower, region: region)
      ownStore = store
      let local = try LocalAttention(
        configuration: model, type: type, limits: limits, store: store, device: device)
      if let excess {
        quota = try QuotaAttention(
          near: local, store: store, far: excess, shape: AttentionShape(model), type: type, limits: limits,
          device: device)
      }
      attention = quota ?? watch.map { WatchedAttention(local, cache: store.cache, watch: $0) } ?? local
    }
    self.blockCount = blockCount
    self.quota = quota
    self.excess = excess
    regionBytes = region?.byteCount ?? 0
    let activations = try Activations(
      model, type: type, rows: limits.rows, roundsRows: policy.roundsRows, device: device)
    if configuration.headColumns.isEmpty {
      head = nil
    } else {
      head = try OutputHead(
        model, columns: configuration.headColumns, type: type, tileRows: configuration.tileRows, device: device)
    }
    var group: TensorGroup?
    if shape.tensorSize > 1 {
      group = try TensorGroup(
        shape, partners: links.tensor, type: type, rows: limits.rows, columns: model.hiddenSize, device: device)
    }
    var loader = WeightLoader(
      configuration: configuration.model, shape: shape, policy: policy, device: device, source: source,
      progress: progress)
    loader.gathering = configuration.gathering
    loader.holders = links.holders
    weights = try loader.load()
    forward = Forward(
      configuration: model, weights: weights, device: device, attention: attention, activations: activations,
      shape: shape, group: group, links: links, microBatches: configuration.microBatches)
  }

  /// The pool of keys and values.
  ///
  /// - Precondition: it is in this process.
  package var store: KVStore {
    guard let ownStore else { preconditionFailure("keys and values are not in this process") }
    return ownStore
  }

  /// The keys and values of plans' blocks, wherever they are; nil where they cannot be reached from here.
  var blocks: (any BlockMemory)? { forward.attention.blocks }

  /// Copies blocks as the plan says and runs the decoder pass of its rows. Answers the residual stream of the last layer
  /// here, f32 [rows, hidden].
  ///
  /// - Parameter mark: of the plan, which all ranks must have alike; nil: there are no others.
  func run(_ plan: borrowing StepPlan, mark: PlanMark?, incomplete: inout [Int32]) throws -> Tensor {
    if let mark { try forward.agree(on: mark) }
    if let quota { try quota.copy(plan) } else { ownStore?.apply(plan.copies.span) }
    guard !plan.tokens.isEmpty else {
      // Copies without rows are attention's all the same, where it has the blocks.
      if ownStore == nil && !plan.copies.isEmpty { _ = forward.attention.end(try forward.attention.begin(plan)) }
      return forward.activations.residual.first(0)
    }
    return try forward.run(plan, incomplete: &incomplete)
  }

  /// What the rank holds and moved so far.
  package var traffic: RankTraffic.Rank {
    var rank = RankTraffic.Rank()
    rank.memoryBytes = device.memoryInUseBytes + regionBytes
    rank.kvBytes = ownStore?.cache.byteCount ?? 0
    rank.tensorBytes = forward.tensorBytes
    rank.stageBytes = forward.stageBytes
    if let data = excess?.traffic() {
      rank.dataBytes = data.bytes
      rank.exchanges = data.exchanges
    }
    return rank
  }

  /// The other ranks were started anew: these are the ways to them.
  func reconnect(_ links: RankLinks) {
    forward.reconnect(links)
    weights.gathered?.reconnect(links.holders)
  }

  /// This rank's columns of the logits of some rows, with what was asked of each.
  func logits(_ rows: Span<Int32>, of residual: Tensor, request: Sampler.HeadRequest) throws(GatherError) -> Tensor? {
    guard let head, let matrix = weights.head else { return nil }
    return try head.compute(
      rows, of: residual, matrix: matrix, gathered: weights.gathered, norm: weights.finalNorm,
      epsilon: configuration.model.normEpsilon,
      request: request, device: device)
  }
}

extension RunnerConfiguration {
  /// Sizes of this rank's layers.
  package var share: ModelConfiguration { model.share(shape) }

  /// Rows of a tile of logits.
  var tileRows: Int { OutputHead.tileRows(vocabularySize: model.vocabularySize, sequences: limits.sequences) }

  /// Tokens whose logits this rank computes.
  var headColumns: Range<Int> {
    shape.isLastStage ? shape.vocabulary(model.vocabularySize) : 0..<0
  }
}
