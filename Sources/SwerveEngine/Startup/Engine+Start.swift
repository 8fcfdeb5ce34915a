package import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveScheduling
import SwerveText
package import SwerveTransfer

extension Engine {
  /// Builds and starts an engine: sizes from the configuration files, then tokenizer and weights at the same time, the
  /// weights on the engine thread. Returns when the first step could run.
  ///
  /// - Parameters:
  ///   - observer: hears of steps and finished requests; see `EngineObserver`.
  ///   - onFailure: hears, in one sentence, why a step failed. The loop goes on.
  ///   - onNotice: hears, in one sentence, of something else an operator should know.
  ///   - links: how links to data workers of other hosts are protected; nothing: they may not leave this machine.
  ///   - onProgress: share of the weights that are loaded, 0…1; called from the engine thread.
  package static func start(
    _ configuration: EngineConfiguration, links: LinkProtection = LinkProtection(),
    observer: (any EngineObserver)? = nil,
    onFailure: @escaping @Sendable (String) -> Void = { _ in },
    onNotice: @escaping @Sendable (String) -> Void = { _ in },
    onProgress: @escaping @Sendable (Double) -> Void = { _ in }
  ) async throws(EngineStartError) -> Engine {
    var plan = try StartPlan(configuration)
    plan.links = links
    return try await start(
      plan, observer: observer, onFailure: onFailure, onNotice: onNotice, onProgress: onProgress)
  }

  /// The same with sizes decided before.
  package static func start(
    _ plan: StartPlan, observer: (any EngineObserver)? = nil,
    onFailure: @escaping @Sendable (String) -> Void = { _ in },
    onNotice: @escaping @Sendable (String) -> Void = { _ in },
    onProgress: @escaping @Sendable (Double) -> Void = { _ in }
  ) async throws(EngineStartError) -> Engine {
    let clock = EngineClock.monotonic
    let threads = EngineThreads(plan: plan, clock: clock, observer: observer, onFailure: onFailure, onNotice: onNotice)
    async let text = loadText(plan.configuration, files: plan.files, clock: clock)
    let loaded: EngineThreads.Loaded
    let (texts, textSeconds): (Result<TextParts, EngineStartError>, Double)
    do {
      loaded = try await threads.startEngineThread(onProgress: onProgress)
    } catch {
      _ = await text
      throw error
    }
    (texts, textSeconds) = await text
    let parts: TextParts
    do {
      parts = try texts.get()
    } catch {
      threads.inbox.post(.stop)
      throw error
    }
    threads.startPublisherThread(tokenizer: parts.tokenizer)
    threads.board.set(.running)
    return assemble(plan, threads, loaded, parts, textSeconds)
  }

  private static func assemble(
    _ plan: StartPlan, _ threads: EngineThreads, _ loaded: EngineThreads.Loaded, _ parts: TextParts,
    _ textSeconds: Double
  ) -> Engine {
    let configuration = plan.configuration
    var limits = SamplingParams.Limits(vocabularySize: plan.model.vocabularySize)
    limits.maxLogprobs = configuration.maxLogprobs
    limits.maxSequences = configuration.maxSequencesPerRequest
    limits.maxStopStrings = configuration.maxStopStrings
    limits.maxBadWords = configuration.maxBadWords
    var info = ModelInfo(
      root: configuration.modelName, architecture: plan.model.architecture,
      maxModelLength: plan.sizing.maxModelLength, vocabularySize: plan.model.vocabularySize,
      hasTokenizer: parts.tokenizer != nil, hasChatTemplate: parts.template != nil, defaults: plan.samplingDefaults,
      limits: limits)
    info.mayReadLossy = plan.tiers?.isLossy ?? false
    var report = plan.report
    report.deviceDetail = loaded.deviceDetail
    report.warnings += loaded.warnings
    report.tiers = loaded.tiers
    report.stages = [("configuration", plan.seconds), ("weights", loaded.seconds), ("tokenizer", textSeconds)]
    let preparation = Preparation(
      model: info, tokenizer: parts.tokenizer, template: parts.template,
      defaultTemplateArguments: configuration.defaultTemplateArguments, templateTimeout: configuration.templateTimeout,
      endTokens: plan.endTokens, wallClock: WallClock.seconds)
    let rotary = plan.model.rotary
    let dependsOnLength: @Sendable (Int) -> Bool = {
      RotaryEmbedding.prefixDependsOnPromptLength($0, rotary)
    }
    return Engine(
      model: info, report: report, preparation: preparation, inbox: threads.inbox, publisher: threads.publisher,
      board: threads.board, clock: threads.clock,
      admission: .init(
        maxQueuedRequests: configuration.maxQueuedRequests, maxQueuedTokens: configuration.maxQueuedTokens,
        maxSequences: configuration.resolvedMaxSequences),
      classes: configuration.serviceClasses, prefixSalt: PrefixSalt(dependsOnLength: dependsOnLength),
      seed: configuration.seed, isReleased: threads.end, exchange: loaded.exchange)
  }

  // MARK: Text

  private struct TextParts: Sendable {
    var tokenizer: Tokenizer?
    var template: ModelChatTemplate?
  }

  private static func loadText(
    _ configuration: EngineConfiguration, files: ModelFiles, clock: EngineClock
  ) async -> (Result<TextParts, EngineStartError>, seconds: Double) {
    let begin = clock.now()
    let result = Result { () throws(EngineStartError) -> TextParts in try textParts(configuration, files: files) }
    return (result, clock.now().seconds(since: begin))
  }

  private static func textParts(
    _ configuration: EngineConfiguration, files: ModelFiles
  ) throws(EngineStartError) -> TextParts {
    var parts = TextParts()
    if configuration.skipTokenizerInit { return parts }
    let place = configuration.tokenizerFolder.map { ModelFiles(folder: $0) } ?? files
    do {
      parts.tokenizer = try Tokenizer(files: place)
      parts.template = try ChatTemplate.load(files: place)
    } catch {
      throw .model("\(error)")
    }
    if let source = configuration.chatTemplate {
      do {
        parts.template = ModelChatTemplate(
          template: try ChatTemplate(source: source), specialTokens: parts.template?.specialTokens ?? JSONObject())
      } catch {
        throw .configuration(["--chat-template is not a template: \(error)"])
      }
    }
    return parts
  }
}
