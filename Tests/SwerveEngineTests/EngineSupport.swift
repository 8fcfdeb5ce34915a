import SwerveCore
import SwerveEngine
import Testing

/// What one choice came to, in a form that two runs can be compared by, bit for bit.
struct Outcome: Equatable, Sendable {
  var tokens: [TokenID] = []
  var logprobBits: [UInt32] = []
  var text = ""
  var finish: FinishReason?
  var stopReason: StopReason?
}

struct Answer: Equatable, Sendable {
  var prompt: [TokenID] = []
  var cachedTokens = 0
  var hasReadLossy = false
  var promptLogprobs: [PositionLogprobs?]?
  var choices: [Outcome] = []
}

extension Engine {
  func answer(_ request: GenerationRequest) async throws -> Answer {
    try await Self.answer(try await generate(request), choices: request.params.n)
  }

  private static func answer(
    _ events: AsyncThrowingStream<GenerationEvent, any Error>, choices: Int
  ) async throws -> Answer {
    var answer = Answer(choices: Array(repeating: Outcome(), count: choices))
    for try await event in events {
      switch event {
      case .started(let info):
        answer.prompt = info.promptTokens
        answer.cachedTokens = info.cachedTokens
        answer.hasReadLossy = info.hasReadLossy
        answer.promptLogprobs = info.promptLogprobs
      case .delta(let delta):
        answer.choices[delta.index].tokens += delta.tokens
        answer.choices[delta.index].text += delta.text
        for position in delta.logprobs {
          answer.choices[delta.index].logprobBits.append(position.chosen.logprob.bitPattern)
          answer.choices[delta.index].logprobBits += position.alternatives.map(\.logprob.bitPattern)
        }
        if let finish = delta.finish {
          answer.choices[delta.index].finish = finish
          answer.hasReadLossy = answer.hasReadLossy || delta.hasReadLossy
          answer.choices[delta.index].stopReason = delta.stopReason
        }
      }
    }
    return answer
  }

  /// All requests at once: however busy the machine is, no step begins before the last one was submitted. Answers in order.
  func answers(_ requests: [GenerationRequest]) async throws -> [Answer] {
    let streams = try await together {
      var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
      for request in requests { streams.append(try await generate(request)) }
      return streams
    }
    return try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
      for (index, events) in streams.enumerated() {
        let choices = requests[index].params.n
        group.addTask { (index, try await Self.answer(events, choices: choices)) }
      }
      var all = [Answer](repeating: Answer(), count: requests.count)
      for try await (index, answer) in group { all[index] = answer }
      return all
    }
  }
}

/// A small engine on the embedded model.
func storyConfiguration() -> EngineConfiguration { storyConfiguration { _ in } }

func storyConfiguration(_ change: (inout EngineConfiguration) throws -> Void) rethrows -> EngineConfiguration {
  var configuration = EngineConfiguration()
  configuration.kvCacheBytes = 64 << 20
  configuration.maxSequences = 64
  configuration.maxModelLength = 512
  configuration.maxLogprobs = -1
  try change(&configuration)
  return configuration
}

func textRequest(
  _ text: String, id: String = "test", _ change: (inout SamplingParams) -> Void = { _ in }
) -> GenerationRequest {
  var params = SamplingParams(temperature: 0, maxTokens: 24)
  change(&params)
  return GenerationRequest(id: id, prompt: .text(text), params: params)
}

/// Waits until the engine has nothing left to do, and says so when it never does.
func idle(_ engine: Engine) async throws {
  for _ in 0..<1000 {
    let now = engine.statistics
    if now.runningRequests + now.waitingRequests == 0 { return }
    try await Task.sleep(for: .milliseconds(10))
  }
  Issue.record("requests are still running: \(engine.statistics)")
}
