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
      while index < plan.sequences.count, plan.sequences[index].sequence.request == request {
        while cursor < result.samples.count && Int(result.samples[cursor].sequenceIndex) < index { cursor += 1 }
        if cursor < result.samples.count && Int(result.samples[cursor].sequenceIndex) == index {
          let first = Int(result.samples[cursor].firstAlternative)
          rows.append(first..<first + Int(result.samples[cursor].alternativeCount))
        }
        index += 1
      }
      continueSearch(request, rows)
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
