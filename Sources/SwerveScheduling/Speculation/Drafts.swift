import SwerveCore

/// The guesses for all running sequences, and what a draft must promise to get a row.
///
/// A step costs about 1 + c·rows, in units of a step that computes nothing but reads all weights once; c is `rowCost`.
/// With r sequences decoding, a token costs (1 + c·r)/r on average and one more row costs c. So a draft that is right with
/// probability p saves more than it costs when p > c·r / (1 + c·r): nearly always with one sequence, hardly ever with
/// many.
struct Drafts: Sendable {
  let configuration: SpeculationConfiguration
  /// c above: what a row adds to a step, > 0.
  var rowCost: Float
  /// [slots]
  private var drafters: [NgramDrafter?]
  private var shared = Acceptance()

  init(_ configuration: SpeculationConfiguration, slots: Int) {
    self.configuration = configuration
    rowCost = configuration.rowCost ?? SchedulerConfiguration.rowCost
    drafters = [NgramDrafter?](repeating: nil, count: slots)
  }

  /// A sequence enters a slot. O(tokens)
  mutating func admit(_ slot: SlotID, prompt: [TokenID], output: [TokenID], maxNewTokens: Int32) {
    // The last token is never computed, so a sequence of one more token has nothing to draft.
    if Int(maxNewTokens) - output.count < 2 { return }
    var drafter = NgramDrafter(configuration, capacity: prompt.count + Int(maxNewTokens), acceptance: shared)
    drafter.fill(prompt, output)
    drafters[Int(slot.rawValue)] = drafter
  }

  mutating func release(_ slot: SlotID) { drafters[Int(slot.rawValue)] = nil }

  /// A token was sampled.
  mutating func append(_ token: TokenID, slot: Int) { drafters[slot]?.append(token, shared: &shared) }

  /// Probability that a draft must reach beside `sequences` decoding sequences; nil = no drafts.
  func threshold(sequences: Int) -> Float? {
    if let limit = configuration.disableByBatchSize, sequences >= limit { return nil }
    let cost = rowCost * Float(sequences)
    return cost / (1 + cost)
  }

  func draftLength(_ slot: SlotID, limit: Int, threshold: Float) -> Int {
    drafters[Int(slot.rawValue)]?.draftLength(limit: min(limit, configuration.tokens), threshold: threshold) ?? 0
  }

  /// Appends the first `count` drafts of a sequence.
  func append(_ count: Int, of slot: SlotID, to tokens: inout [TokenID]) {
    for offset in 0..<count {
      if let token = drafters[Int(slot.rawValue)]?.draft(offset) { tokens.append(token) }
    }
  }
}
