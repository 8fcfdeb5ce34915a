import Logging
import SwerveCore
import SwerveEngine
import SwerveText
import SwerveTransfer

extension Wiring {
  /// The real rooms.
  package static let standard = Wiring(
    engines: LocalEngines(), serve: { try await Serving(settings: $0, engines: $1, console: $2).run() },
    lines: TextRoom(),
    benchKernels: { settings, console in try KernelsBench(settings: settings, console: console).run() })
}

/// Engines of this process.
struct LocalEngines: EngineProvider {
  func start(
    _ configuration: EngineConfiguration, observer: (any EngineObserver)?,
    progress: @escaping @Sendable (Double) -> Void
  ) async throws -> StartedEngine {
    let journal = try Journal.opened(by: configuration) { EngineLog.notice($0) }
    let separation = configuration.dataWorkers
    let links =
      configuration.placement == .separated && separation.links.isGiven
      ? try LinkSetup.protection(separation.links, role: .parameter) { EngineLog.notice($0) } : LinkProtection()
    let engine = try await Engine.start(
      configuration, links: links, observer: observer, onFailure: { EngineLog.failure($0) },
      onNotice: { EngineLog.notice($0) }, onProgress: progress)
    return StartedEngine(
      client: journal.map { JournaledEngine(engine, journal: $0) as any EngineClient } ?? engine,
      report: engine.report.warnings + engine.report.logLines, drain: { engine.drain() },
      stop: {
        await engine.stop()
        await journal?.stop()
      })
  }

  func plan(_ configuration: EngineConfiguration) async throws -> [String] {
    let report = try StartPlan(configuration).report
    return report.memoryTable + (report.gathering.map { [$0.line] } ?? []) + [
      "KV cache: \(report.blockCount) blocks of \(report.blockSize) tokens, \(report.kvTokens) tokens",
      "Longest request: \(report.maxModelLength) tokens",
    ]
  }

  func exitCode(of error: any Error) -> ExitCode? {
    (error as? EngineStartError).map { ExitCode(rawValue: $0.exitCode) ?? .internalError }
  }
}

/// What an engine says about itself while it runs.
enum EngineLog {
  /// Something an operator should know; serving goes on.
  static func notice(_ sentence: String) { Logger(label: "swerve.engine").warning("\(sentence)") }

  /// A step failed; the loop goes on.
  static func failure(_ sentence: String) { Logger(label: "swerve.engine").error("\(sentence)") }
}

/// The text room's JSON lines.
struct TextRoom: TextLines {
  func tokenizer(folder: String?) throws -> @Sendable ([UInt8]) -> [UInt8] {
    let lines = try lines(folder)
    return { lines.tokenize(line: $0) }
  }

  func detokenizer(folder: String?) throws -> @Sendable ([UInt8]) -> [UInt8] {
    let lines = try lines(folder)
    return { lines.detokenize(line: $0) }
  }

  func renderer() throws -> @Sendable ([UInt8]) -> [UInt8] {
    { RenderTemplateLines.answer($0, now: TemplateDate(epoch: WallClock.seconds())) }
  }

  private func lines(_ folder: String?) throws -> TokenizerLines {
    TokenizerLines(try Tokenizer(files: folder.map { ModelFiles(folder: $0) } ?? StoryModel.files))
  }
}
