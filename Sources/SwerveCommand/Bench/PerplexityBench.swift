package import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `bench perplexity`: how well a model predicts a text, exp of the mean negative log-likelihood of its tokens. Windows of
/// the context's length slide over the text, so that each token is scored once, with at least `context − stride` tokens
/// before it where the text has them.
package struct PerplexityBench {
  /// Tokens that go in at once, and the first of them that is scored.
  package struct Window: Sendable, Hashable {
    package var tokens: Range<Int>
    package var firstScored: Int
  }

  let bench: BenchSettings
  let console: Console

  package init(bench: BenchSettings, console: Console) {
    self.bench = bench
    self.console = console
  }

  /// The text to score. Throws a sentence for one that cannot be read or is empty.
  package static func read(_ bench: BenchSettings) throws -> String {
    guard let path = bench.textFile else { throw CommandError(.usage, "swerve bench perplexity needs --text FILE.") }
    let text = try TextFile.read(path)
    if text.allSatisfy(\.isWhitespace) { throw CommandError(.usage, "\(path) holds no text to score.") }
    return text
  }

  /// Windows over `count` tokens. The first token is never scored: nothing predicts it.
  package static func windows(count: Int, context: Int, stride: Int) -> [Window] {
    guard count > 1 else { return [] }
    var windows = [Window(tokens: 0..<min(context, count), firstScored: 1)]
    var end = min(context, count)
    while end < count {
      let next = min(end + stride, count)
      windows.append(Window(tokens: next - context..<next, firstScored: end))
      end = next
    }
    return windows
  }

  /// Scores `text`; the answer is what the command prints.
  package func run(_ text: String, _ engine: StartedEngine) async throws -> JSON {
    let client = engine.client
    guard client.model.hasTokenizer else {
      throw CommandError(
        .usage, "swerve bench perplexity scores text and this model has no tokenizer; give one with --tokenizer.")
    }
    let (context, stride) = try sizes(client.model.maxModelLength)
    var tokens = try await client.tokenize(.text(text), addSpecialTokens: true).tokens
    if let limit = bench.limitTokens { tokens = Array(tokens.prefix(limit)) }
    let windows = Self.windows(count: tokens.count, context: context, stride: stride)
    if windows.isEmpty { throw CommandError(.usage, "a text of one token cannot be scored; give a longer one.") }
    let bytes = try await client.detokenize(Array(tokens.dropFirst())).utf8.count
    let display = ProgressDisplay("perplexity", unit: .count("windows"), console: console)
    let start = Clock.now()
    let scores = try await score(windows, of: tokens, client) { display.update(done: $0, total: windows.count) }
    let seconds = Clock.now() - start
    display.finish()
    let total = scores.reduce(0, +)
    let scored = tokens.count - 1
    let perplexity = exp(total / Double(scored))
    let bitsPerByte = total / log(2) / Double(max(1, bytes))
    console.writeError(
      "perplexity \(Format.fixed(perplexity, 4)), \(Format.fixed(bitsPerByte, 4)) bits per byte over \(scored) tokens\n"
    )
    return [
      "model": .string(client.model.root), "tokens": .int(scored), "bytes": .int(bytes), "context": .int(context),
      "stride": .int(stride), "nll": .double(total), "perplexity": .double(perplexity),
      "bits_per_byte": .double(bitsPerByte), "elapsed_s": .double(seconds),
    ]
  }

  private func sizes(_ maxModelLength: Int) throws(CommandError) -> (context: Int, stride: Int) {
    // A request generates one token beside its prompt.
    let most = maxModelLength - 1
    let context = bench.contextTokens ?? min(1024, most)
    guard (2...max(2, most)).contains(context), context <= most else {
      throw CommandError(
        .usage, "--context must be between 2 and \(most), one less than the longest request, not \(context).")
    }
    let stride = bench.strideTokens ?? max(1, context / 2)
    guard (1..<context).contains(stride) else {
      throw CommandError(.usage, "--stride must be at least 1 and less than --context (\(context)), not \(stride).")
    }
    if let limit = bench.limitTokens, limit < 2 {
      throw CommandError(.usage, "--limit-tokens must be at least 2, not \(limit).")
    }
    return (context, stride)
  }

  /// Negative log-likelihood of each window's scored tokens, in order; windows run together.
  private func score(
    _ windows: [Window], of tokens: [TokenID], _ client: any EngineClient, onFinish: (Int) -> Void
  ) async throws -> [Double] {
    try await withThrowingTaskGroup(of: (Int, Double).self) { group in
      for (place, window) in windows.enumerated() {
        let part = Array(tokens[window.tokens])
        let first = window.firstScored - window.tokens.lowerBound
        group.addTask { (place, try await Self.score(part, from: first, place, client)) }
      }
      var scores = [Double](repeating: 0, count: windows.count)
      var done = 0
      while let (place, score) = try await group.next() {
        scores[place] = score
        done += 1
        onFinish(done)
      }
      return scores
    }
  }

  private static func score(
    _ tokens: [TokenID], from first: Int, _ ordinal: Int, _ client: any EngineClient
  ) async throws -> Double {
    var params = SamplingParams(temperature: 0, maxTokens: 1, promptLogprobs: 0)
    params.ignoreEos = true
    params.detokenize = false
    let request = GenerationRequest(id: "perplexity-\(ordinal)", prompt: .tokens(tokens), params: params)
    var positions: [PositionLogprobs?] = []
    for try await event in try await client.generate(request) {
      if case .started(let info) = event { positions = info.promptLogprobs ?? [] }
    }
    let scored = positions.dropFirst(first).compactMap { $0 }
    guard scored.count == tokens.count - first else {
      throw CommandError(
        .internalError, "the engine reported \(scored.count) of \(tokens.count - first) log-probabilities.")
    }
    return scored.reduce(0.0) { $0 - Double($1.chosen.logprob) }
  }
}
