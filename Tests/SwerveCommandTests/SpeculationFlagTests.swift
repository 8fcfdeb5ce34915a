import SwerveCommand
import SwerveCore
import Testing

@Suite struct SpeculationFlagTests {
  private func speculation(_ arguments: [String]) throws -> SpeculationConfiguration? {
    try parse(arguments).settings.engine.speculation
  }

  @Test func itIsOffUnlessAskedFor() throws {
    #expect(try speculation([]) == nil)
    for neutral in ["null", "{}"] { #expect(try speculation(["--speculative-config", neutral]) == nil) }
    #expect(try speculation(["--spec-method", "null"]) == nil)
  }

  @Test func theObjectItsMembersAndTheShortFormsAreTheSame() throws {
    var expected = SpeculationConfiguration()
    #expect(try speculation(["--spec-method", "ngram"]) == expected)
    expected.tokens = 5
    expected.promptLookupMin = 3
    expected.promptLookupMax = 4
    let object = #"{"method":"ngram","num_speculative_tokens":5,"prompt_lookup_min":3,"prompt_lookup_max":4}"#
    #expect(try speculation(["--speculative-config", object]) == expected)
    #expect(
      try speculation([
        "--speculative-config.method", "ngram", "--speculative-config.num_speculative_tokens=5",
        "--speculative-config.prompt_lookup_min", "3", "--speculative-config.prompt_lookup_max", "4",
      ]) == expected)
    expected.tokens = 7
    #expect(try speculation(["--spec-tokens", "7", "--speculative-config", object]) == expected)
  }

  @Test func oneLengthStandsForBoth() throws {
    let low = try speculation(["--spec-method", "ngram", "--speculative-config.prompt_lookup_min", "7"])
    #expect(low?.promptLookupMin == 7 && low?.promptLookupMax == 7)
    let high = try speculation(["--spec-method", "ngram", "--speculative-config.prompt_lookup_max", "1"])
    #expect(high?.promptLookupMin == 1 && high?.promptLookupMax == 1)
  }

  static let refusals: [(String, String)] = [
    (#"{"num_speculative_tokens": 3}"#, "--speculative-config needs a method; use ngram."),
    (#"{"method": "eagle"}"#, "--speculative-config.method eagle is not supported yet; use ngram."),
    (#"{"method": "guess"}"#, "--speculative-config.method guess is unknown; use ngram."),
    (
      #"{"method": "ngram", "num_speculative_tokens": 16}"#,
      "--speculative-config.num_speculative_tokens must be between 1 and 15, not 16."
    ),
    (
      #"{"method": "ngram", "num_speculative_tokens": "3"}"#,
      #"--speculative-config.num_speculative_tokens must be a whole number, not "3"."#
    ),
    (
      #"{"method": "ngram", "prompt_lookup_min": 0, "prompt_lookup_max": 3}"#,
      "--speculative-config.prompt_lookup_min must be between 1 and 32, not 0."
    ),
    (
      #"{"method": "ngram", "prompt_lookup_min": 4, "prompt_lookup_max": 3}"#,
      "--speculative-config.prompt_lookup_min (4) must not be larger than prompt_lookup_max (3)."
    ),
    (
      #"{"method": "ngram", "disable_by_batch_size": 0}"#,
      "--speculative-config.disable_by_batch_size must be positive, not 0."
    ),
    (
      #"{"method": "ngram", "model": "x/y"}"#,
      #"--speculative-config.model "x/y" is not supported: n-gram look-up has no draft model."#
    ),
    (
      #"{"method": "ngram", "draft_tensor_parallel_size": 2}"#,
      "--speculative-config.draft_tensor_parallel_size 2 is not supported: n-gram look-up has no draft model."
    ),
  ]

  @Test(arguments: refusals.indices) func whatIsWrongIsOneSentence(_ row: Int) {
    let (text, sentence) = Self.refusals[row]
    #expect(problems(["--speculative-config", text]) == [sentence])
  }

  @Test func unknownMembersAndFormsAreErrors() {
    #expect(
      problems(["--spec-method", "ngram", "--speculative-config.tokens", "3"]).first?
        .hasPrefix("--speculative-config has no member tokens; it has method, ") == true)
    #expect(problems(["--speculative-config", "[1]"]).first?.contains("needs a JSON object") == true)
    #expect(problems(["--spec-tokens", "3"]) == ["--speculative-config needs a method; use ngram."])
    #expect(problems(["--spec-model", "x/y"]).first?.contains("is not supported yet") == true)
  }
}
