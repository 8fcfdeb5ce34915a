import SwerveCore
import Testing

@Suite struct SamplingParamsTests {
  static let limits = SamplingParams.Limits(vocabularySize: 100)

  private func problem(_ change: (inout SamplingParams) -> Void) -> String?? {
    var params = SamplingParams()
    change(&params)
    do {
      try params.validate(limits: Self.limits)
      return nil
    } catch {
      return .some(error.param)
    }
  }

  @Test func defaultsAreThoseOfTheSpecification() throws {
    let params = SamplingParams()
    #expect(params.maxTokens == 16 && params.temperature == 1 && params.topP == 1 && params.topK == 0 && params.n == 1)
    try params.validate(limits: Self.limits)
  }

  @Test func valuesJustInsideTheirRangesPass() {
    #expect(problem { $0.temperature = 2 } == nil)
    #expect(problem { $0.topP = 0.0001 } == nil)
    #expect(problem { $0.topK = -1 } == nil)
    #expect(
      problem {
        $0.presencePenalty = -2; $0.frequencyPenalty = 2
      } == nil)
    #expect(problem { $0.minTokens = 16 } == nil)
    #expect(problem { $0.logitBias = [99: -100] } == nil)
    #expect(problem { $0.logprobs = 20 } == nil)
  }

  @Test func valuesJustOutsideNameTheirField() {
    #expect(problem { $0.temperature = 2.01 } == "temperature")
    #expect(problem { $0.temperature = .nan } == "temperature")
    #expect(problem { $0.topP = 0 } == "top_p")
    #expect(problem { $0.topP = 1.01 } == "top_p")
    #expect(problem { $0.topK = -2 } == "top_k")
    #expect(problem { $0.minP = -0.1 } == "min_p")
    #expect(problem { $0.presencePenalty = 2.1 } == "presence_penalty")
    #expect(problem { $0.frequencyPenalty = -2.1 } == "frequency_penalty")
    #expect(problem { $0.repetitionPenalty = 0 } == "repetition_penalty")
    #expect(problem { $0.repetitionPenalty = .infinity } == "repetition_penalty")
    #expect(problem { $0.n = 0 } == "n")
    #expect(
      problem {
        $0.n = 2; $0.temperature = 0
      } == "n")
    #expect(problem { $0.stop = ["a", ""] } == "stop")
    #expect(problem { $0.stop = Array(repeating: "a", count: 5) } == "stop")
    #expect(problem { $0.minTokens = 17 } == "min_tokens")
    #expect(problem { $0.maxTokens = -1 } == "max_tokens")
    #expect(problem { $0.logprobs = 21 } == "logprobs")
    #expect(problem { $0.logprobs = -1 } == "logprobs")
    #expect(problem { $0.promptLogprobs = -2 } == "prompt_logprobs")
    #expect(problem { $0.logitBias = [100: 1] } == "logit_bias")
    #expect(problem { $0.allowedTokenIds = [] } == "allowed_token_ids")
    #expect(problem { $0.allowedTokenIds = [-1] } == "allowed_token_ids")
    #expect(problem { $0.stopTokenIds = [100] } == "stop_token_ids")
    #expect(problem { $0.badWords = [""] } == "bad_words")
    #expect(problem { $0.logprobTokenIds = [1] } == "logprob_token_ids")
  }
}
