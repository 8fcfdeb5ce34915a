package import SwerveCore
import SwerveHardware
package import SwerveInference

/// What a start would do, from the configuration files alone: no weight is read and no memory taken. `--dry-run` prints
/// its table.
package struct StartPlan: Sendable {
  package let configuration: EngineConfiguration
  package let files: ModelFiles
  package let model: ModelConfiguration
  package let elementType: ElementType
  package let sizing: MemorySizing
  package let memoryPlan: MemoryPlan
  /// End-of-sequence ids.
  package let endTokens: Set<TokenID>
  /// Sampling defaults in `generation_config.json`'s keys.
  package let samplingDefaults: JSONObject
  /// The memory table before anything was loaded.
  package let report: StartReport
  package let seconds: Double

  package init(_ configuration: EngineConfiguration) throws(EngineStartError) {
    let clock = EngineClock.monotonic
    let begin = clock.now()
    let problems = configuration.problems()
    if !problems.isEmpty { throw .configuration(problems) }
    self.configuration = configuration
    files = configuration.modelFolder.map { ModelFiles(folder: $0) } ?? StoryModel.files
    let generation: GenerationDefaults
    do {
      model = try ModelConfiguration(files, overrides: configuration.configOverrides)
      generation = try Self.generationDefaults(configuration, files)
    } catch {
      throw .model("\(error)")
    }
    elementType = Self.elementType(configuration.dtype, model)
    endTokens = Set(generation.endTokens.isEmpty ? model.endTokens : generation.endTokens)
    samplingDefaults = generation.sampling
    let limits = RunnerLimits(
      maxRows: configuration.resolvedMaxBatchedTokens, maxSequences: configuration.resolvedMaxSequences,
      maxContext: min(configuration.maxModelLength.flatMap { $0 > 0 ? $0 : nil } ?? model.contextTokens, 1 << 30))
    memoryPlan = MemoryPlan(model, type: elementType, limits: limits, blockSize: configuration.blockSize)
    let memory = SystemMemory.current()
    sizing = try MemorySizing.decide(
      configuration,
      .init(
        weightBytes: memoryPlan.weightBytes, scratchBytes: memoryPlan.scratchBytes, blockBytes: memoryPlan.blockBytes,
        maxSequences: configuration.resolvedMaxSequences, modelContext: model.contextTokens),
      memory: memory)
    var report = StartReport()
    report.memory = .init(
      total: memory.totalBytes, usedByOthers: memory.usedByOthers, weights: memoryPlan.weightBytes,
      scratch: memoryPlan.scratchBytes, kv: sizing.kvBytes)
    report.elementType = elementType
    report.blockSize = configuration.blockSize
    report.blockCount = sizing.blockCount
    report.maxModelLength = sizing.maxModelLength
    self.report = report
    seconds = clock.now().seconds(since: begin)
  }

  /// The model's own sampling defaults unless told otherwise, with the overrides on top.
  private static func generationDefaults(
    _ configuration: EngineConfiguration, _ files: ModelFiles
  ) throws(ModelFileError) -> GenerationDefaults {
    let place = ["auto", "vllm"].contains(configuration.generationConfig)
      ? files : ModelFiles(folder: configuration.generationConfig)
    var defaults = try GenerationDefaults(place)
    if configuration.generationConfig == "vllm" { defaults.sampling = JSONObject() }
    for (key, value) in configuration.overrideGenerationConfig { defaults.sampling[key] = value }
    return defaults
  }

  /// `auto` keeps the checkpoint's own type.
  private static func elementType(_ dtype: EngineConfiguration.DType, _ model: ModelConfiguration) -> ElementType {
    switch dtype {
    case .auto: model.checkpointType ?? .bfloat16
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    }
  }
}
