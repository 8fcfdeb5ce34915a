public import SwerveCore
internal import SwerveEngine
internal import SwerveHub
internal import Synchronization

/// A language model in this process with a stream per request: what a server builds on.
public final class AsyncLLM: Sendable {
  private let engine: Engine
  private let ordinals = Atomic<UInt64>(0)

  /// Loads a model; see `LLM.init`.
  public init(
    model: String? = nil, configuration: EngineConfiguration = EngineConfiguration(),
    progress: (@Sendable (LoadProgress) -> Void)? = nil
  ) async throws {
    var configuration = configuration
    if let model {
      configuration.modelName = model
      configuration.modelFolder = try await ModelPlace.folder(of: model) { done, total in
        progress?(LoadProgress(stage: .download, fraction: total > 0 ? Double(done) / Double(total) : 0))
      }
    }
    engine = try await Engine.start(
      configuration, onProgress: { progress?(LoadProgress(stage: .weights, fraction: $0)) })
  }

  public var model: ModelInfo { engine.model }

  /// Streams one prompt's outputs. Every element is the whole output so far (`RequestOutput.finished` tells the last);
  /// leaving the loop, or cancelling its task, aborts the request within one step.
  public func generate(
    _ prompt: Prompt, _ params: SamplingParams = SamplingParams(), requestId: String? = nil
  ) async throws -> AsyncThrowingStream<RequestOutput, any Error> {
    try await stream(prompt.engineForm, params, requestId: requestId)
  }

  /// Streams the answer to a conversation.
  public func chat(
    _ messages: [ChatMessage], _ params: SamplingParams = SamplingParams(), requestId: String? = nil
  ) async throws -> AsyncThrowingStream<RequestOutput, any Error> {
    try await stream(.chat(ChatPrompt(messages: messages.map(\.json))), params, requestId: requestId)
  }

  /// Stops the engine and returns its memory; open streams end with an error.
  public func shutdown() async { await engine.stop() }

  /// The final output only.
  func complete(prompt: GenerationRequest.Prompt, params: SamplingParams) async throws -> RequestOutput {
    let request = request(prompt, params, nil)
    var output = RequestOutput(requestId: request.id, n: params.n)
    for try await event in try await engine.generate(request) { output.apply(event) }
    return output
  }

  private func stream(
    _ prompt: GenerationRequest.Prompt, _ params: SamplingParams, requestId: String?
  ) async throws -> AsyncThrowingStream<RequestOutput, any Error> {
    let request = request(prompt, params, requestId)
    let events = try await engine.generate(request)
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: RequestOutput.self)
    let task = Task {
      var output = RequestOutput(requestId: request.id, n: params.n)
      do {
        for try await event in events {
          output.apply(event)
          if case .delta = event { continuation.yield(output) }
        }
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
      }
    }
    continuation.onTermination = { _ in task.cancel() }
    return stream
  }

  private func request(
    _ prompt: GenerationRequest.Prompt, _ params: SamplingParams, _ requestId: String?
  ) -> GenerationRequest {
    let ordinal = ordinals.wrappingAdd(1, ordering: .relaxed).newValue
    var request = GenerationRequest(id: requestId ?? String(ordinal), prompt: prompt, params: params)
    if case .chat = prompt { request.addSpecialTokens = false }
    return request
  }
}
