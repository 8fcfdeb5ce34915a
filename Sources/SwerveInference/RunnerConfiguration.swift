package import SwerveCore

/// What to load and how to run it. A pure value: the memory plan follows from it before anything is loaded.
package struct RunnerConfiguration: Sendable {
  package enum Weights: Sendable, Hashable {
    case checkpoint
    /// Seeded noise in the model's shapes (`--load-format dummy`).
    case random(seed: UInt64)
  }

  package var model: ModelConfiguration
  /// Type of weights and of activations at the seams.
  package var type: ElementType
  /// Type of cached keys and values.
  package var kvType: KVType
  package var weights: Weights
  package var limits: RunnerLimits

  /// - Parameter kvType: nil = `type`.
  package init(
    model: ModelConfiguration, type: ElementType, kvType: KVType? = nil, weights: Weights = .checkpoint,
    limits: RunnerLimits
  ) {
    self.model = model
    self.type = type
    self.kvType = kvType ?? KVType(type)
    self.weights = weights
    self.limits = limits
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
