import SwerveCore
import SwerveScheduling

extension EngineLoop {
  /// Takes every search whose beams the step sampled one token further. The beams of a search stand together in the plan,
  /// in the search's order.
  mutating func continueSearches() {
    var cursor = 0
    var index = 0
    while index < plan.sequences.count {
      let request = plan.sequences[index].sequence.request
      guard plan.sequences[index].samples, searches[request] != nil else {
        index += 1
        continue
      }
      var rows: [Range<Int>] = []
      var isIncomplete = false
      while index < plan.sequences.count, plan.sequences[index].sequence.request == request {
        if !result.incomplete.isEmpty && result.incomplete.contains(Int32(index)) { isIncomplete = true }
        while cursor < result.samples.count && Int(result.samples[cursor].sequenceIndex) < index { cursor += 1 }
        if cursor < result.samples.count && Int(result.samples[cursor].sequenceIndex) == index {
          let first = Int(result.samples[cursor].firstAlternative)
          rows.append(first..<first + Int(result.samples[cursor].alternativeCount))
        }
        index += 1
      }
      // The step does not count for it: its beams are computed again, or it has ended, as the scheduler says.
      if isIncomplete {
        if scheduler.maxNewTokens(of: request) == nil { searches[request] = nil }
      } else {
        continueSearch(request, rows)
      }
    }
  }

  private mutating func continueSearch(_ request: RequestID, _ rows: [Range<Int>]) {
    // Where a sample is missing, the scheduler has ended the search with an error.
    guard rows.count == searches[request]?.runningCount,
      let outcome = searches[request]?.advance(rows, of: result.alternatives)
    else {
      searches[request] = nil
      return
    }
    switch outcome {
    case .goesOn(let steps): scheduler.continueBeams(request, steps)
    case .isDecided(let winners):
      searches[request] = nil
      let tokens = winners.reduce(0) { $0 + $1.beam.tokens.count }
      guard let preemptions = scheduler.endBeams(request, tokens: tokens) else { return }
      decided.append(.winners(request, winners, preemptions: preemptions, now: clock.now()))
    }
  }
}
