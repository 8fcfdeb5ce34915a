import SwerveCore
import SwerveEngine
import Testing

/// Speculation saves steps and changes nothing: tokens, log-probabilities, text and reasons to stop are those of an
/// engine without it, bit for bit.
@Suite(.serialized) struct SpeculationTests {
  private static func speculation(_ change: (inout SpeculationConfiguration) -> Void = { _ in })
    -> SpeculationConfiguration
  {
    var speculation = SpeculationConfiguration()
    speculation.promptLookupMin = 1
    // Whatever the machine: draft all that can be drafted.
    speculation.rowCost = 1e-4
    change(&speculation)
    return speculation
  }

  /// A text that says the same again and again, so that the model goes on doing so.
  private static let refrain = String(
    repeating: "The wolf said: I will huff and I will puff and I will blow your house down. ", count: 4)

  /// Every parameter that looks at what was said before, greedy and sampled, over text that repeats itself.
  private static let requests: [GenerationRequest] = {
    let changes: [(inout SamplingParams) -> Void] = [
      { _ in },
      { $0.logprobs = 5 },
      { $0.temperature = 0.7 },
      {
        $0.temperature = 0.5; $0.topP = 0.9; $0.topK = 20; $0.logprobs = 3
      },
      {
        $0.temperature = 0.4; $0.minP = 0.1; $0.n = 2; $0.logprobs = 1
      },
      { $0.repetitionPenalty = 1.02 },
      {
        $0.repetitionPenalty = 1.3; $0.logprobs = 2
      },
      {
        $0.frequencyPenalty = 0.1; $0.presencePenalty = 0.05; $0.temperature = 0.3
      },
      {
        $0.logitBias = [300: 2, 301: -100]; $0.logprobs = 2
      },
      {
        $0.badWords = ["puff and I will", "wolf"]; $0.logprobs = 1
      },
      {
        $0.minTokens = 30; $0.stopTokenIds = (300..<600).map { TokenID($0) }
      },
      { $0.stopTokenIds = (300..<400).map { TokenID($0) } },
      { $0.stop = ["blow your"] },
      {
        $0.stop = ["house down. The wolf"]; $0.includeStopStrInOutput = true; $0.logprobs = 1
      },
      {
        $0.allowedTokenIds = (0..<1_000).map { TokenID($0) }; $0.logprobs = 4
      },
      {
        $0.promptLogprobs = 2; $0.logprobs = 0
      },
      {
        $0.logprobTokenIds = [5, 300, 9]; $0.logprobs = 1
      },
      { $0.maxTokens = 2 },
      {
        $0.maxTokens = 3; $0.n = 3; $0.temperature = 0.6
      },
    ]
    return changes.enumerated().map { index, change in
      textRequest(refrain + ["The wolf", "The", "", "Then the wolf said: I will"][index % 4], id: "spec-\(index)") {
        $0.maxTokens = 64
        $0.seed = index
        $0.ignoreEos = index % 3 != 1
        change(&$0)
      }
    }
  }()

  private func alone(_ requests: [GenerationRequest], _ type: EngineConfiguration.DType) async throws -> [Answer] {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = type; $0.enablePrefixCaching = false
      })
    var answers: [Answer] = []
    for request in requests { answers.append(try await engine.answer(request)) }
    #expect(engine.statistics.drafts == 0)
    await engine.stop()
    return answers
  }

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func `tokens and log-probabilities are those without it`(type: EngineConfiguration.DType) async throws {
    let expected = try await alone(Self.requests, type)
    #expect(expected.contains { $0.choices[0].finish == .stop && $0.choices[0].stopReason != nil })
    var shapes: [(String, (inout EngineConfiguration) -> Void)] = [
      ("alone", { $0.enablePrefixCaching = false }),
      ("cached", { _ in }),
      ("many drafts", { $0.speculation?.tokens = 15 }),
      (
        "one draft",
        {
          $0.speculation?.tokens = 1; $0.blockSize = 32
        }
      ),
      (
        "chunked",
        {
          $0.maxBatchedTokens = 24; $0.maxSequences = 6
        }
      ),
    ]
    shapes.append(
      (
        "preempted",
        {
          $0.kvBlocks = 30; $0.kvCacheBytes = nil; $0.maxModelLength = 256; $0.threads = 1
        }
      ))
    for (name, change) in shapes {
      let engine = try await Engine.start(
        storyConfiguration {
          $0.dtype = type; $0.speculation = Self.speculation(); change(&$0)
        })
      if name == "alone" {
        for (request, answer) in zip(Self.requests, expected) {
          let got = try await engine.answer(request)
          #expect(got.choices == answer.choices, "\(name): \(request.id)")
          #expect(got.promptLogprobs == answer.promptLogprobs)
        }
      } else {
        let got = try await engine.answers(Self.requests)
        for (index, answer) in got.enumerated() {
          #expect(answer.choices == expected[index].choices, "\(name): \(Self.requests[index].id)")
        }
      }
      let statistics = engine.statistics
      #expect(statistics.acceptedTokens > 50, "\(name): \(statistics)")
      #expect(statistics.acceptedTokens < statistics.draftTokens)
      if name == "preempted" { #expect(statistics.preemptions > 0) }
      await engine.stop()
    }
  }

  @Test func `text that repeats takes fewer steps, text that does not is left alone`() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.speculation = Self.speculation {
          $0.promptLookupMin = 2; $0.rowCost = 0.05
        }
      })
    let repeating = textRequest(Self.refrain, id: "repeating") {
      $0.maxTokens = 200
      $0.ignoreEos = true
    }
    let answer = try await engine.answer(repeating)
    #expect(answer.choices[0].tokens.count == 200)
    let before = engine.statistics
    #expect(before.steps < 150 && before.acceptedTokens > 50)
    let changing = textRequest("Once upon a time", id: "changing") {
      $0.maxTokens = 200
      $0.ignoreEos = true
      $0.temperature = 2
      $0.seed = 1
    }
    #expect(try await engine.answer(changing).choices[0].tokens.count == 200)
    let after = engine.statistics
    #expect(after.draftTokens - before.draftTokens < 20)
    #expect(after.steps - before.steps > 190)
    await engine.stop()
  }
}
