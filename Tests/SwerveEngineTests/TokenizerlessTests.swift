import SwerveCore
import SwerveEngine
import Testing

@Suite(.serialized) struct TokenizerlessTests {
  @Test func withoutATokenizerTokensAreNamedByTheirIds() async throws {
    let engine = try await Engine.start(storyConfiguration { $0.skipTokenizerInit = true })
    let params = SamplingParams(temperature: 0, maxTokens: 2, logprobs: 5)
    let request = GenerationRequest(id: "x", prompt: .tokens([5, 6, 7]), params: params)
    for try await event in try await engine.generate(request) {
      guard case .delta(let delta) = event else { continue }
      for position in delta.logprobs {
        #expect(position.alternatives.map(\.text) == position.alternatives.map { "token_id:\($0.token.rawValue)" })
      }
    }
    await engine.stop()
  }

  @Test func withoutATokenizerStopStringsAreRefused() async throws {
    let engine = try await Engine.start(storyConfiguration { $0.skipTokenizerInit = true })
    let params = SamplingParams(temperature: 0, stop: ["king"], maxTokens: 4)
    let prompt = GenerationRequest.Prompt.tokens([5, 6, 7])
    await #expect {
      _ = try await engine.generate(GenerationRequest(id: "x", prompt: prompt, params: params))
    } throws: {
      ($0 as? RequestError)?.param == "stop"
    }
    await engine.stop()
  }
}
