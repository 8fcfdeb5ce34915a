// The public library: `import Swerve` gives `LLM`, `AsyncLLM`, `SamplingParams` and `RequestOutput`. A thin target over
// the engine; it must not hold logic of its own beyond collecting streams. Start with LLM.

@_exported public import SwerveCore

/// A language model in this process: many prompts in, their outputs back in the same order.
///
/// ```swift
/// let llm = try await LLM()                       // the embedded story model; or LLM(model: "/models/llama")
/// let outputs = try await llm.generate(["Once upon a time"], SamplingParams(temperature: 0.8, maxTokens: 64))
/// print(outputs[0].outputs[0].text)
/// ```
///
/// All prompts of a call are batched; at most `window` of them are in flight, so 100,000 prompts need memory for their
/// results only. Use `AsyncLLM` to receive tokens while they are generated.
public final class LLM: Sendable {
  private let engine: AsyncLLM
  private static let window = 1024

  /// Loads a model. `model` is a folder, a hub id (`org/name[@revision]`) or nil for the embedded story model; further
  /// settings are those of `EngineConfiguration`. Throws an error whose
  /// description is one sentence.
  public init(
    model: String? = nil, configuration: EngineConfiguration = .offline,
    progress: (@Sendable (LoadProgress) -> Void)? = nil
  ) async throws {
    engine = try await AsyncLLM(model: model, configuration: configuration, progress: progress)
  }

  /// The same with settings under vLLM's names: `LLM(model: "…", arguments: ["max_model_len": 4096])`.
  public convenience init(
    model: String? = nil, arguments: EngineArguments, progress: (@Sendable (LoadProgress) -> Void)? = nil
  ) async throws {
    try await self.init(model: model, configuration: try arguments.apply(to: .offline), progress: progress)
  }

  public var model: ModelInfo { engine.model }

  /// Generates from one prompt: text, or token ids.
  public func generate(
    _ prompt: Prompt, _ params: SamplingParams = SamplingParams()
  ) async throws -> RequestOutput {
    try await generate([prompt], params)[0]
  }

  /// Generates from many prompts with the same parameters; results are in input order.
  /// `progress` is called with the number of finished prompts.
  public func generate(
    _ prompts: [Prompt], _ params: SamplingParams = SamplingParams(), progress: (@Sendable (Int) -> Void)? = nil
  ) async throws -> [RequestOutput] {
    try await collect(prompts.map { ($0.engineForm, params) }, progress: progress)
  }

  /// One parameter value per prompt. Throws a 400 when the counts differ.
  public func generate(
    _ prompts: [Prompt], _ params: [SamplingParams], progress: (@Sendable (Int) -> Void)? = nil
  ) async throws -> [RequestOutput] {
    guard prompts.count == params.count else {
      throw RequestError.badRequest("\(prompts.count) prompts need as many SamplingParams, got \(params.count).")
    }
    return try await collect(zip(prompts, params).map { ($0.engineForm, $1) }, progress: progress)
  }

  /// Answers one conversation through the model's chat template.
  public func chat(
    _ messages: [ChatMessage], _ params: SamplingParams = SamplingParams()
  ) async throws -> RequestOutput {
    try await chat([messages], params)[0]
  }

  /// Answers many conversations; results are in input order.
  public func chat(
    _ conversations: [[ChatMessage]], _ params: SamplingParams = SamplingParams(),
    progress: (@Sendable (Int) -> Void)? = nil
  ) async throws -> [RequestOutput] {
    try await collect(
      conversations.map { (.chat(ChatPrompt(messages: $0.map(\.json))), params) }, progress: progress)
  }

  /// Stops the engine and returns its memory. Called or not, memory goes when the last reference does.
  public func shutdown() async { await engine.shutdown() }

  private func collect(
    _ work: [(GenerationRequest.Prompt, SamplingParams)], progress: (@Sendable (Int) -> Void)?
  ) async throws -> [RequestOutput] {
    try await withThrowingTaskGroup(of: (Int, RequestOutput).self) { group in
      var results = [RequestOutput?](repeating: nil, count: work.count)
      var next = 0
      var finished = 0
      func start() {
        guard next < work.count else { return }
        let index = next
        next += 1
        group.addTask { [engine] in
          (index, try await engine.complete(prompt: work[index].0, params: work[index].1))
        }
      }
      for _ in 0..<min(Self.window, work.count) { start() }
      while let (index, output) = try await group.next() {
        results[index] = output
        finished += 1
        progress?(finished)
        start()
      }
      return results.compactMap { $0 }
    }
  }
}
