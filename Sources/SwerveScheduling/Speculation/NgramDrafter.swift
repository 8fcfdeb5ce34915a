import SwerveCore

/// The guesses for one sequence: it follows the longest earlier occurrence of the last tokens until a token differs.
struct NgramDrafter: Sendable {
  private var index: NgramIndex
  /// What is followed: where, and for how many tokens so far.
  private var match: NgramIndex.Match?
  private var acceptance: Acceptance

  /// Observations of one sequence count for about its last eight, those of all sequences for about the last 64.
  private static let ownWeight: Float = 1 / 8
  private static let sharedWeight: Float = 1 / 64

  /// - Parameters:
  ///   - capacity: most tokens the sequence can get.
  ///   - acceptance: what other sequences taught.
  init(_ configuration: SpeculationConfiguration, capacity: Int, acceptance: Acceptance) {
    index = NgramIndex(
      minimum: configuration.promptLookupMin, maximum: configuration.promptLookupMax, capacity: capacity)
    self.acceptance = acceptance
  }

  /// Tokens known before anything is drafted. O(tokens)
  mutating func fill(_ prompt: [TokenID], _ output: [TokenID]) {
    for token in prompt { index.append(token) }
    for token in output { index.append(token) }
    match = index.longestMatch()
  }

  /// The next token of the sequence: learns whether it was the expected one and looks for what comes after it. O(1), no
  /// allocation.
  mutating func append(_ token: TokenID, shared: inout Acceptance) {
    if let followed = match {
      let isRight = index[followed.position] == token
      acceptance.record(isRight, length: followed.length, weight: Self.ownWeight)
      shared.record(isRight, length: followed.length, weight: Self.sharedWeight)
      match = isRight ? NgramIndex.Match(position: followed.position + 1, length: followed.length + 1) : nil
    }
    index.append(token)
    let length = match?.length ?? 0
    if length < index.maximum, let longer = index.longestMatch(), longer.length > length { match = longer }
  }

  /// How many drafts are worth a row: as long as all of them together are right with at least probability `threshold`.
  func draftLength(limit: Int, threshold: Float) -> Int {
    guard let match else { return 0 }
    var probability: Float = 1
    var length = 0
    while length < limit {
      probability *= acceptance.probability(length: match.length + length)
      if probability < threshold { break }
      length += 1
    }
    return length
  }

  /// The draft `offset` tokens after the last known token, < what `draftLength` answered. Where the earlier occurrence
  /// reaches the end of the sequence, it repeats itself, as a loop does.
  func draft(_ offset: Int) -> TokenID {
    guard let match else { preconditionFailure("a sequence without a match has no drafts") }
    return index[match.position + offset % (index.count - match.position)]
  }
}
