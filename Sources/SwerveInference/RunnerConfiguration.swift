package import SwerveCore
package import SwerveHardware

/// What to load and how to run it. A pure value: the memory plan follows from it before anything is loaded.
package struct RunnerConfiguration: Sendable {
  package enum Weights: Sendable, Hashable {
    case checkpoint
    /// A packed weight file with so many bytes of matrices and norms, and of embedding tables.
    case packed(weightBytes: Int, tableBytes: Int)
    /// Seeded noise in the model's shapes (`--load-format dummy`).
    case random(seed: UInt64)
  }

  /// What is fetched, and from where.
  package struct Gathering: Sendable, Hashable {
    package var plan: GatherPlan
    package var source: GatherConfiguration.Source
    /// Of the packed weight file.
    package var path: String
    /// Ranks that hold shares of the weights, this one included. 1 unless the source is peers.
    package var rankCount: Int

    package init(plan: GatherPlan, source: GatherConfiguration.Source, path: String, rankCount: Int = 1) {
      self.plan = plan
      self.source = source
      self.path = path
      self.rankCount = rankCount
    }

    /// Bytes of the largest share; 0 where nothing is shared out.
    package var shareBytes: Int {
      rankCount == 1 ? 0 : GatherShares(plan.items, rankCount: rankCount).byteCount(rank: rankCount - 1)
    }
  }

  package var model: ModelConfiguration
  /// Type of activations at the seams, and of weights that are not quantised.
  package var type: ElementType
  /// Type of cached keys and values.
  package var kvType: KVType
  /// How matrices are stored, before what their shapes allow; nil: in `type`. See `WeightPolicy`.
  package var quantization: WeightFormat?
  package var weights: Weights
  /// How packed weights are fetched layer by layer; nil: they are used where they lie.
  package var gathering: Gathering?
  package var limits: RunnerLimits
  /// What this rank computes of the model.
  package var shape: RankShape
  /// Pieces that a step's rows are cut into for stages to work on at once; nil = as the step suggests.
  package var microBatches: Int?

  /// - Parameter kvType: nil = `type`.
  package init(
    model: ModelConfiguration, type: ElementType, kvType: KVType? = nil, quantization: WeightFormat? = nil,
    weights: Weights = .checkpoint,
    limits: RunnerLimits
  ) {
    self.model = model
    self.type = type
    self.kvType = kvType ?? KVType(type)
    self.quantization = quantization
    self.weights = weights
    self.limits = limits
    shape = .whole(model)
  }

  /// Which matrix is stored how.
  package var policy: WeightPolicy { WeightPolicy(model: model, type: type, quantization: quantization) }

  /// Whether so many tensor ranks can share weights that were packed for one.
  package func canSharePacked(_ ranks: Int) -> Bool { model.canSharePacked(ranks, policy: policy) }

  /// `--quantization` with `--quantization-config`.
  package static func weightFormat(_ configuration: EngineConfiguration) -> WeightFormat? {
    switch configuration.quantization {
    case .none: nil
    case .int8: .int8
    case .int4: .int4(group: configuration.quantizationGroup ?? 128)
    case .nf4: .nf4(group: configuration.quantizationGroup ?? 64)
    case .int8Dynamic: .int8Dynamic
    case .int4Dynamic: .int4Dynamic(group: configuration.quantizationGroup ?? 128)
    }
  }

  /// `--dtype`: `auto` is the type the checkpoint says it has in config.json; where that is silent, the type of its
  /// embedding table, and bfloat16 without a checkpoint.
  package static func elementType(
    _ dtype: EngineConfiguration.DType, model: ModelConfiguration, checkpoint: Checkpoint? = nil
  ) -> ElementType {
    switch dtype {
    case .auto:
      model.checkpointType ?? checkpoint?[model.family.names.embedding]?.type.elementType ?? .bfloat16
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    }
  }
}
