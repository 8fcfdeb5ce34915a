import SwerveCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// When things happened to one request, in seconds since it was sent.
package struct RequestTiming: Sendable, Hashable {
  package var promptTokens = 0
  package var outputTokens = 0
  package var firstToken: Double?
  /// Gaps between tokens; tokens that came in one piece share its gap.
  package var gaps: [Double] = []
  package var total = 0.0

  package init() {}

  /// Counts `tokens` that arrived `now` seconds after sending.
  package mutating func arrived(_ tokens: Int, now: Double, last: inout Double) {
    guard tokens > 0 else { return }
    outputTokens += tokens
    if firstToken == nil {
      firstToken = now
    } else {
      gaps += Array(repeating: (now - last) / Double(tokens), count: tokens)
    }
    last = now
  }
}

/// Sends requests to an engine in this process and times them.
struct EngineLoad: Sendable {
  let client: any EngineClient

  /// One request to its end.
  func run(_ request: GenerationRequest) async throws -> RequestTiming {
    var timing = RequestTiming()
    let start = Clock.now()
    var last = 0.0
    for try await event in try await client.generate(request) {
      let now = Clock.now() - start
      switch event {
      case .started(let info): timing.promptTokens = info.promptTokens.count
      case .delta(let delta): timing.arrived(delta.tokens.count, now: now, last: &last)
      }
    }
    timing.total = Clock.now() - start
    return timing
  }

  /// All requests, at most `concurrency` at a time, results in order. `onFinish` gets the number done so far.
  func run(
    _ requests: [GenerationRequest], concurrency: Int?, onFinish: @escaping @Sendable (Int) -> Void = { _ in }
  ) async throws -> [RequestTiming] {
    try await withThrowingTaskGroup(of: (Int, RequestTiming).self) { group in
      var timings = [RequestTiming](repeating: RequestTiming(), count: requests.count)
      var finished = 0
      for (place, request) in requests.enumerated() {
        if place >= max(1, concurrency ?? .max), let (done, timing) = try await group.next() {
          timings[done] = timing
          finished += 1
          onFinish(finished)
        }
        group.addTask { (place, try await run(request)) }
      }
      while let (done, timing) = try await group.next() {
        timings[done] = timing
        finished += 1
        onFinish(finished)
      }
      return timings
    }
  }

  /// Greedy (or beams), full length, from token ids or text.
  func request(
    _ content: BenchPrompt.Content, maxTokens: Int, ordinal: Int, n: Int = 1, beams: Bool = false,
    detokenize: Bool = true
  ) -> GenerationRequest {
    var params = SamplingParams(n: n, temperature: n > 1 && !beams ? 1 : 0, maxTokens: maxTokens)
    params.ignoreEos = true
    params.useBeamSearch = beams
    params.detokenize = detokenize && client.model.hasTokenizer
    let prompt: GenerationRequest.Prompt =
      switch content {
      case .tokens(let tokens): .tokens(tokens)
      case .text(let text): .text(text)
      }
    return GenerationRequest(id: "bench-\(ordinal)", prompt: prompt, params: params)
  }

  /// Every id of the vocabulary.
  var vocabulary: [TokenID] { (0..<client.model.vocabularySize).map { TokenID($0) } }
}

/// Memory of this process.
enum ProcessMemory {
  /// Largest resident size so far, in MiB.
  static var peakMiB: Double {
    var usage = rusage()
    #if canImport(Glibc)
      getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    #else
      getrusage(RUSAGE_SELF, &usage)
    #endif
    return Double(usage.ru_maxrss) / 1024
  }
}
