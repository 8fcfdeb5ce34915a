import SwerveCore
import SwerveText

extension Publisher {
  /// The winners of a beam search, best first, each as the one delta of its choice.
  mutating func publish(_ winners: [BeamWinner], of id: RequestID, preemptions: Int, now: EngineInstant) {
    guard let place = requests.index(forKey: id) else { return }
    start(place, preemptions: preemptions)
    for index in 0..<requests.values[place].params.n {
      // Fewer hypotheses than choices: the width is larger than the vocabulary.
      let delta =
        index < winners.count
        ? delta(winners[index], index: index, place) : ChoiceDelta(index: index, finish: .length)
      for _ in delta.tokens { recordToken(place, index, now: now) }
      send(delta, index: index, to: place, id: id, now: now)
    }
  }

  /// All tokens of a winner, as far as no stop string ends its text before.
  private mutating func delta(
    _ winner: BeamWinner, index: Int, _ place: Dictionary<RequestID, RequestRecord>.Index
  ) -> ChoiceDelta {
    var whole = ChoiceDelta(index: index)
    let logprobs = winner.logprobs
    for (position, token) in winner.beam.tokens.enumerated() where !requests.values[place].choices[index].isFinished {
      let isLast = position == winner.beam.tokens.count - 1
      let finish: FinishReason? = isLast ? (winner.beam.endToken == nil ? .length : .stop) : nil
      let piece = requests.values[place].choices[index].append(token, logprobs: nil, finish: finish)
      whole.text += piece.text
      whole.tokens += piece.tokens
      whole.finish = piece.finish
      whole.stopReason = piece.stopReason
      if position < logprobs.count {
        whole.logprobs.append(describe(logprobs[position].chosen, logprobs[position].alternatives[...]))
      }
    }
    whole.cumulativeLogprob = winner.beam.sum
    return whole
  }
}
