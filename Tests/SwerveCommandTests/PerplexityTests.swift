import SwerveCommand
import SwerveCore
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct PerplexityTests {
  @Test(arguments: [
    (2, 2, 1), (5, 8, 4), (8, 8, 4), (9, 8, 4), (100, 8, 1), (100, 8, 7), (1000, 128, 64), (257, 64, 50),
  ])
  func everyTokenIsScoredOnceWithEnoughContext(_ count: Int, _ context: Int, _ stride: Int) {
    let windows = PerplexityBench.windows(count: count, context: context, stride: stride)
    var next = 1
    for window in windows {
      #expect(window.firstScored == next && window.tokens.count <= context)
      #expect(window.firstScored - window.tokens.lowerBound >= min(next, context - stride))
      next = window.tokens.upperBound
    }
    #expect(next == count)
    #expect(PerplexityBench.windows(count: 1, context: 8, stride: 4).isEmpty)
  }

  /// The embedded model over a short text: one window, and again in windows, against the engine's own numbers.
  @Test func aTextsPerplexityIsThatOfItsLogProbabilities() async throws {
    let text =
      "Once upon a time there lived a king who had three sons, and the youngest was called Jack. One day the king fell ill, "
      + "and all the doctors shook their heads."
    var configuration = EngineConfiguration()
    configuration.kvCacheBytes = 32 << 20
    configuration.maxModelLength = 256
    let engine = try await Wiring.standard.engines.start(configuration, observer: nil) { _ in }
    let tokens = try await engine.client.tokenize(.text(text), addSpecialTokens: true).tokens
    func positions(_ part: ArraySlice<TokenID>) async throws -> [Double] {
      let request = GenerationRequest(
        id: "test", prompt: .tokens(Array(part)),
        params: SamplingParams(temperature: 0, maxTokens: 1, promptLogprobs: 0))
      for try await case .started(let info) in try await engine.client.generate(request) {
        return try #require(info.promptLogprobs).compactMap { $0 }.map { Double($0.chosen.logprob) }
      }
      return []
    }
    let whole = try await positions(tokens[...])
    #expect(whole.count == tokens.count - 1)
    try #require(tokens.count > 25)
    let record = ConsoleRecord()
    let bench = PerplexityBench(bench: BenchSettings(), console: record.console())
    let result = try await bench.run(text, engine)
    let expected = -whole.reduce(0, +)
    #expect(result["nll"]?.double == expected && result["tokens"]?.int == whole.count)
    let perplexity = try #require(result["perplexity"]?.double)
    #expect(abs(perplexity - exp(expected / Double(whole.count))) < 1e-9 && perplexity > 1 && perplexity < 200)
    let bits = try #require(result["bits_per_byte"]?.double)
    #expect(bits > 0.1 && bits < 4 && record.errors.contains("perplexity"))

    var settings = BenchSettings()
    settings.contextTokens = 12
    settings.strideTokens = 5
    settings.limitTokens = 21
    var sum = 0.0
    for window in PerplexityBench.windows(count: 21, context: 12, stride: 5) {
      let scored = try await positions(tokens[window.tokens])
      sum -= scored.dropFirst(window.firstScored - window.tokens.lowerBound - 1).reduce(0, +)
    }
    let windowed = try await PerplexityBench(bench: settings, console: record.console()).run(text, engine)
    #expect(abs(try #require(windowed["nll"]?.double) - sum) < 1e-9 && windowed["tokens"]?.int == 20)

    for (context, stride) in [(1, nil), (256, nil), (12, 12), (12, 0)] as [(Int, Int?)] {
      settings.contextTokens = context
      settings.strideTokens = stride
      let bench = PerplexityBench(bench: settings, console: record.console())
      await #expect(throws: CommandError.self) { try await bench.run(text, engine) }
    }
    await engine.stop()
  }

  @Test func aTextThatCannotBeScoredIsRefused() async {
    let record = ConsoleRecord()
    let context = CommandContext(wiring: .standard, environment: [:], console: record.console())
    #expect(await SwerveMain.run(["bench", "perplexity"], context: context) == .usage)
    #expect(record.errors.contains("needs --text"))
    #expect(await SwerveMain.run(["bench", "perplexity", "--text", "/no/such/file"], context: context) == .usage)
    #expect(record.errors.contains("cannot read /no/such/file"))
    let empty = TemporaryFile(" \n\n")
    #expect(await SwerveMain.run(["bench", "perplexity", "--text", empty.path], context: context) == .usage)
    #expect(record.errors.contains("holds no text"))
    let text = TemporaryFile("Once upon a time")
    let words = [
      "bench", "perplexity", "--text", text.path, "--skip-tokenizer-init", "-c", "64", "--max-num-seqs", "2",
    ]
    #expect(await SwerveMain.run(words, context: context) == .usage)
    #expect(record.errors.contains("has no tokenizer"))
  }
}
