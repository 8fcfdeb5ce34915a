package import SwerveCore
import SwerveHardware
package import SwerveInference
import SwerveTiers
package import SwerveTransfer

/// What a start would do, from the configuration files alone: no weight is read and no memory taken. `--dry-run` prints
/// its table.
package struct StartPlan: Sendable {
  package let configuration: EngineConfiguration
  package let files: ModelFiles
  package let model: ModelConfiguration
  /// What to load and how to run it.
  package let runner: RunnerConfiguration
  /// Which rank computes what; `runner` is rank 0's.
  package let layout: RankLayout
  package let sizing: MemorySizing
  package let memoryPlan: MemoryPlan
  /// Blocks below the device; nil = none are kept there.
  package var tiers: TierPlan?
  /// How links to data workers of other hosts are protected.
  package var links = LinkProtection()
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
    files = configuration.modelFolder.map { ModelFiles(folder: $0) } ?? StoryModel.files
    let generation: GenerationDefaults
    try Self.checkQuantization(configuration, files)
    do {
      model = try ModelConfiguration(files, overrides: configuration.configOverrides)
      generation = try Self.generationDefaults(configuration, files, model)
    } catch {
      throw .model("\(error)")
    }
    layout = try Self.layout(configuration, model)
    try Self.checkLogprobs(configuration, model, rows: configuration.mostRows)
    let memory = try Memory(configuration, files: files, model: model, layout: layout)
    var decided = memory.configuration
    // Ranks have the workers of the start.
    if layout.computingCount > 1 { decided.dataWorkers.maximum = decided.dataWorkers.count }
    self.configuration = decided
    runner = memory.runner
    memoryPlan = memory.plan
    sizing = memory.sizing
    tiers = memory.tiers
    endTokens = Set(generation.endTokens)
    samplingDefaults = generation.sampling
    var report = StartReport()
    report.memory = .init(
      total: memory.machine.totalBytes, usedByOthers: memory.machine.usedByOthers, weights: memoryPlan.weightBytes,
      scratch: memoryPlan.fixedBytes - memoryPlan.weightBytes, kv: sizing.kvBytes)
    report.elementType = runner.type
    report.weightFormat = runner.quantization?.name
    if case .packed = runner.weights { report.memory.weightsAreMapped = runner.gathering == nil }
    report.gathering = runner.gathering.map { .init($0) }
    report.kvType = runner.kvType
    report.memory.hostTier = tiers?.hostBytes ?? 0
    report.blockBytes = memoryPlan.blockBytes
    report.blockSize = configuration.blockSize
    report.blockCount = sizing.blockCount
    report.maxModelLength = sizing.maxModelLength
    if let overflow = memory.configuration.overflow {
      report.hostBlocks = overflow.hostBlocks
      report.storeBlocks = overflow.makeStore == nil ? 0 : overflow.storeBlocks
    }
    self.report = report
    seconds = clock.now().seconds(since: begin)
  }

  private static func layout(
    _ configuration: EngineConfiguration, _ model: ModelConfiguration
  ) throws(EngineStartError) -> RankLayout {
    do {
      var layout = try RankLayout(
        model, tensorSize: configuration.tensorParallelSize, stageCount: configuration.pipelineParallelSize,
        split: configuration.pipelineSplit, isExact: configuration.reduction == .exact)
      layout.holderCount = (configuration.gathering?.rankCount ?? 1) - 1
      return layout
    } catch {
      throw .configuration(error.problems)
    }
  }

  /// Keys and values of the whole model.
  static func layout(_ runner: RunnerConfiguration) throws(EngineStartError) -> KVLayout {
    try layout(runner.model, runner)
  }

  /// Those of the runner's layers and heads.
  static func shareLayout(_ runner: RunnerConfiguration) throws(EngineStartError) -> KVLayout {
    try layout(runner.share, runner)
  }

  private static func layout(
    _ model: ModelConfiguration, _ runner: RunnerConfiguration
  ) throws(EngineStartError) -> KVLayout {
    do {
      return try model.layout(type: runner.kvType, blockTokens: runner.limits.blockTokens)
    } catch {
      throw .model("\(error)")
    }
  }

  /// Weights are rounded once.
  static func checkQuantization(
    _ configuration: EngineConfiguration, _ files: ModelFiles
  ) throws(EngineStartError) {
    guard configuration.quantization != .none else { return }
    do {
      if let method = try ModelConfiguration.quantizationMethod(files) {
        throw EngineStartError.configuration([
          "--quantization \(configuration.quantization.rawValue) rounds weights while loading and this checkpoint is "
            + "already quantised (\"\(method)\"); leave the flag out, or give an unquantised checkpoint of this model."
        ])
      }
    } catch let error as EngineStartError {
      throw error
    } catch {
      throw .model("\(error)")
    }
  }

  /// A step's alternatives are numbered with 32 bits.
  private static func checkLogprobs(
    _ configuration: EngineConfiguration, _ model: ModelConfiguration, rows: Int
  ) throws(EngineStartError) {
    let asked = configuration.maxLogprobs
    let most = asked < 0 ? model.vocabularySize : min(asked, model.vocabularySize)
    if most > Int(Int32.max) / rows {
      throw .configuration([
        "--max-logprobs \(asked) means up to \(most) log-probabilities for each of the \(rows) tokens of a step, which "
          + "is more than a step can report; lower it or --max-num-batched-tokens."
      ])
    }
  }

  /// The model's own sampling defaults unless told otherwise, with the overrides on top.
  private static func generationDefaults(
    _ configuration: EngineConfiguration, _ files: ModelFiles, _ model: ModelConfiguration
  ) throws(ModelFileError) -> GenerationDefaults {
    let source = configuration.generationConfig
    return try GenerationDefaults(
      ["auto", "vllm"].contains(source) ? files : ModelFiles(folder: source), configuration: model,
      usesFile: source != "vllm", overrides: configuration.overrideGenerationConfig)
  }
}
