/// How tokens are drafted and verified several at a time (`--speculative-config`). Speculation changes the time a
/// sequence takes and nothing else: every token and log-probability is the one that comes without it.
public struct SpeculationConfiguration: Sendable, Hashable {
  /// Most drafted tokens of one sequence and step, 1 ... 15.
  public var tokens = 8
  /// Fewest and most tokens at the end of a sequence that must have occurred before, 1 ... 32: the longest match decides
  /// what is drafted.
  public var promptLookupMin = 2
  public var promptLookupMax = 5
  /// Steps in which so many sequences decode have no drafts; nil = the costs decide.
  public var disableByBatchSize: Int?
  /// What a row is taken to add to a step, in units of a step without rows, > 0; nil = it is measured. For tests: next to
  /// nothing drafts all that can be drafted.
  package var rowCost: Float?

  /// Bounds of `tokens`: a sequence's sampled rows fit one tile of logits.
  public static let tokenRange = 1...15
  /// Bounds of the two lengths of a match.
  public static let lookupRange = 1...32

  public init() {}

  /// From the members of `--speculative-config`. `method` must be there.
  ///
  /// One of `prompt_lookup_min` and `prompt_lookup_max` alone stands for both. Throws all problems, each one sentence
  /// that names the member.
  public init(_ members: JSONObject) throws(SpeculationError) {
    var problems: [String] = []
    func whole(_ name: String) -> Int? {
      guard let value = members[name], !value.isNull else { return nil }
      if let number = value.int { return number }
      problems.append("--speculative-config.\(name) must be a whole number, not \(value.text).")
      return nil
    }
    func neutral(_ name: String, _ values: JSON..., why: String) {
      guard let value = members[name], !value.isNull, !values.contains(value) else { return }
      problems.append("--speculative-config.\(name) \(value.text) is not supported: \(why).")
    }
    switch members["method"]?.string {
    case "ngram": break
    case let method? where Self.laterMethods.contains(method):
      problems.append("--speculative-config.method \(method) is not supported yet; use ngram.")
    case let method?: problems.append("--speculative-config.method \(method) is unknown; use ngram.")
    case nil: problems.append("--speculative-config needs a method; use ngram.")
    }
    neutral("model", "ngram", "[ngram]", why: "n-gram look-up has no draft model")
    neutral("draft_tensor_parallel_size", 1, why: "n-gram look-up has no draft model")
    neutral("rejection_sample_method", "strict", why: "a draft is accepted when it is the sampled token")
    for name in members.keys where !Self.names.contains(name) {
      problems.append("--speculative-config has no member \(name); it has \(Self.names.joined(separator: ", ")).")
    }
    if let given = whole("num_speculative_tokens") { tokens = given }
    let low = whole("prompt_lookup_min")
    let high = whole("prompt_lookup_max")
    if let either = low ?? high {
      promptLookupMin = low ?? either
      promptLookupMax = high ?? either
    }
    disableByBatchSize = whole("disable_by_batch_size")
    problems += self.problems()
    if !problems.isEmpty { throw SpeculationError(problems: problems) }
  }

  private static let names = [
    "method", "num_speculative_tokens", "prompt_lookup_min", "prompt_lookup_max", "disable_by_batch_size", "model",
    "draft_tensor_parallel_size", "rejection_sample_method",
  ]
  private static let laterMethods = ["suffix", "draft_model", "eagle", "eagle3", "medusa", "mtp"]

  /// All problems, each one sentence; empty when the numbers can be used.
  public func problems() -> [String] {
    var found: [String] = []
    func require(_ value: Int, in range: ClosedRange<Int>, _ name: String) {
      if range.contains(value) { return }
      found.append(
        "--speculative-config.\(name) must be between \(range.lowerBound) and \(range.upperBound), not \(value).")
    }
    require(tokens, in: Self.tokenRange, "num_speculative_tokens")
    require(promptLookupMin, in: Self.lookupRange, "prompt_lookup_min")
    require(promptLookupMax, in: Self.lookupRange, "prompt_lookup_max")
    if promptLookupMin > promptLookupMax {
      found.append(
        "--speculative-config.prompt_lookup_min (\(promptLookupMin)) must not be larger than prompt_lookup_max "
          + "(\(promptLookupMax)).")
    }
    if let size = disableByBatchSize, size < 1 {
      found.append("--speculative-config.disable_by_batch_size must be positive, not \(size).")
    }
    return found
  }
}

/// What is wrong with a `--speculative-config`.
public struct SpeculationError: Error, Hashable, CustomStringConvertible {
  /// One sentence each.
  public var problems: [String]

  public init(problems: [String]) { self.problems = problems }

  public var description: String { problems.joined(separator: " ") }
}
