import SwerveCore
import SwerveEngine
import Testing

@Suite(.serialized) struct BeamSearchTests {
  @Test(arguments: ["allowed_token_ids", "logit_bias", "bad_words"])
  func beamSearchRefusesTheMasksItCannotHonour(field: String) async throws {
    let engine = try await Engine.start(storyConfiguration())
    let request = textRequest("Once upon a time") {
      $0.useBeamSearch = true
      $0.n = 2
      switch field {
      case "allowed_token_ids": $0.allowedTokenIds = [5, 6]
      case "logit_bias": $0.logitBias = [5: -100]
      default: $0.badWords = ["king"]
      }
    }
    await #expect { _ = try await engine.generate(request) } throws: { ($0 as? RequestError)?.param == field }
    await engine.stop()
  }

  @Test func noBeamHoldsAnEndTokenBeforeItsLeastLength() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let free = try await engine.answer(textRequest("Once upon a time") { $0.maxTokens = 4 })
    // Tokens the model likes here end the beams, so that without a mask they would.
    let ends = Array(free.choices[0].tokens.prefix(2))
    let beams = try await engine.answer(
      textRequest("Once upon a time") {
        $0.useBeamSearch = true
        $0.n = 3
        $0.maxTokens = 6
        $0.minTokens = 5
        $0.stopTokenIds = ends
      })
    for choice in beams.choices {
      #expect(choice.tokens.count >= 5)
      #expect(choice.tokens.prefix(5).allSatisfy { !ends.contains($0) })
    }
    await engine.stop()
  }

  @Test func beamSearchThatMayGenerateNothingEndsEveryChoice() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let answer = try await engine.answer(
      textRequest("Once") {
        $0.useBeamSearch = true
        $0.n = 2
        $0.maxTokens = 0
      })
    #expect(answer.choices.map(\.finish) == [.length, .length])
    #expect(answer.choices.allSatisfy { $0.tokens.isEmpty })
    await engine.stop()
  }

  @Test func beamsReportTheLogprobsThatWereAskedFor() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let request = textRequest("Once upon a time") {
      $0.useBeamSearch = true
      $0.n = 2
      $0.maxTokens = 6
      $0.logprobs = 2
    }
    for try await event in try await engine.generate(request) {
      guard case .delta(let delta) = event else { continue }
      #expect(delta.logprobs.map(\.chosen.token) == delta.tokens)
      #expect(delta.logprobs.allSatisfy { $0.alternatives.count == 2 })
      let sum = delta.logprobs.reduce(0) { $0 + $1.chosen.logprob }
      #expect(abs(sum - delta.cumulativeLogprob!) < 1e-3)
    }
    await engine.stop()
  }
}
