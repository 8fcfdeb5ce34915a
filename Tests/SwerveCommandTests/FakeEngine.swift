import SwerveCommand
import SwerveCore
import Synchronization

/// Answers every request with its words, one token each: `t0 t1 t2 …` up to the asked length, and forgets nothing.
final class FakeEngine: EngineClient {
  let model: ModelInfo
  private let state = Mutex<[GenerationRequest]>([])
  private let delay: Duration

  init(delay: Duration = .zero, defaults: JSONObject = [:]) {
    self.delay = delay
    model = ModelInfo(
      root: "fake", architecture: "Fake", maxModelLength: 4096, vocabularySize: 100, hasTokenizer: true,
      hasChatTemplate: true, defaults: defaults, limits: .init(vocabularySize: 100))
  }

  var requests: [GenerationRequest] { state.withLock { $0 } }
  var started: StartedEngine { StartedEngine(client: self, report: ["fake report"], drain: {}, stop: {}) }

  func generate(
    _ request: GenerationRequest
  ) async throws(RequestError) -> AsyncThrowingStream<GenerationEvent, any Error> {
    state.withLock { $0.append(request) }
    let prompt: [TokenID]
    switch request.prompt {
    case .tokens(let tokens): prompt = tokens
    case .text(let text) where text == "fail": throw .badRequest("this prompt fails.")
    case .text(let text): prompt = text.split(separator: " ").indices.map { _ in 1 }
    case .chat(let chat): prompt = chat.messages.map { _ in 1 }
    }
    let count = request.params.maxTokens ?? 3
    let delay = delay
    return AsyncThrowingStream { continuation in
      let task = Task {
        continuation.yield(
          .started(PromptInfo(promptTokens: prompt, promptText: nil, cachedTokens: 0, promptLogprobs: nil)))
        for place in 0..<count {
          if delay > .zero {
            do { try await Task.sleep(for: delay) } catch { return continuation.finish(throwing: error) }
          }
          let finish: FinishReason? = place + 1 == count ? .length : nil
          continuation.yield(
            .delta(ChoiceDelta(index: 0, text: "t\(place) ", tokens: [TokenID(place)], finish: finish)))
        }
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  func tokenize(_ prompt: GenerationRequest.Prompt, addSpecialTokens: Bool) async throws(RequestError)
    -> TokenizedPrompt
  {
    TokenizedPrompt(tokens: [1, 2, 3], text: nil)
  }
  func detokenize(_ tokens: [TokenID]) async throws(RequestError) -> String { "" }
  func tokenString(_ token: TokenID) -> String? { nil }
  var health: EngineHealth { .running }
  var statistics: EngineStatistics { EngineStatistics() }
  func resetPrefixCache() async -> Bool { true }
}

/// Hands out fake engines and remembers what they were asked to be.
final class FakeEngines: EngineProvider {
  struct Refusal: Error, CustomStringConvertible { let description = "no room for the weights." }

  let engine: FakeEngine
  let refuses: Bool
  private let seen = Mutex<[EngineConfiguration]>([])

  init(_ engine: FakeEngine = FakeEngine(), refuses: Bool = false) {
    self.engine = engine
    self.refuses = refuses
  }

  var configurations: [EngineConfiguration] { seen.withLock { $0 } }

  func start(
    _ configuration: EngineConfiguration, observer: (any EngineObserver)?,
    progress: @escaping @Sendable (Double) -> Void
  ) async throws -> StartedEngine {
    if refuses { throw Refusal() }
    seen.withLock { $0.append(configuration) }
    progress(1)
    return engine.started
  }

  func plan(_ configuration: EngineConfiguration) async throws -> [String] { ["memory plan"] }
  func exitCode(of error: any Error) -> ExitCode? { error is Refusal ? .memory : nil }
}

struct EchoLines: TextLines {
  func tokenizer(folder: String?) throws -> @Sendable ([UInt8]) -> [UInt8] { { _ in Array(#"{"ids": [7, 8]}"#.utf8) } }
  func detokenizer(folder: String?) throws -> @Sendable ([UInt8]) -> [UInt8] {
    { $0.contains(UInt8(ascii: "9")) ? Array(#"{"error": "no such id"}"#.utf8) : Array(#"{"text": "hi"}"#.utf8) }
  }
  func renderer() throws -> @Sendable ([UInt8]) -> [UInt8] { { $0 } }
}
