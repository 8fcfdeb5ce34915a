package import SwerveCore
package import SwerveScheduling

/// What a client asked of a beam search.
package struct BeamSettings: Sendable {
  package var width: Int
  /// Winners to return, ≤ `width`.
  package var count: Int
  package var lengthPenalty: Float
  package var earlyStopping: EarlyStopping
  /// Tokens before which no beam ends.
  package var minTokens: Int
  package var repetitionPenalty: Float
  package var endTokens: Set<TokenID>
  /// Alternatives that the client wants to see of each token; nil = no log-probabilities.
  package var logprobs: Int?

  package init(_ params: SamplingParams, endTokens: Set<TokenID>) {
    width = params.beamWidth ?? params.n
    count = params.n
    lengthPenalty = params.lengthPenalty
    earlyStopping = params.earlyStopping
    minTokens = params.minTokens
    repetitionPenalty = params.repetitionPenalty
    logprobs = params.logprobs
    self.endTokens = endTokens
  }

  /// Most likely tokens that a step must report of each beam, so that the best `2 × width` are among them whatever is
  /// masked or falls by the penalty.
  package func alternatives(promptTokens: [TokenID], maxTokens: Int, vocabularySize: Int) -> Int {
    if repetitionPenalty < 1 || (logprobs ?? 0) < 0 { return vocabularySize }
    let penalised = repetitionPenalty == 1 ? 0 : Set(promptTokens).count + maxTokens
    let masked = minTokens > 0 ? endTokens.count : 0
    return min(vocabularySize, max(2 * width + masked + penalised, logprobs ?? 0))
  }
}

/// A winner of a search.
package struct BeamWinner: Sendable {
  package var beam: BeamSet.Beam
  /// Its tokens' log-probabilities, where they were kept.
  package var logprobs: [BeamTrace] {
    var traces: [BeamTrace] = []
    var last = beam.trace
    while let trace = last {
      traces.append(trace)
      last = trace.before
    }
    return traces.reversed()
  }
}

/// A search under way, on the engine thread: from what a step sampled of its beams to how they go on.
package struct BeamSearch {
  package enum Outcome {
    case goesOn([BeamStep])
    case isDecided([BeamWinner])
  }

  private let settings: BeamSettings
  /// Distinct prompt tokens, where the penalty needs them.
  private let promptTokens: Set<TokenID>
  private var beams: BeamSet

  package init(_ settings: BeamSettings, promptTokens: [TokenID], maxTokens: Int) {
    self.settings = settings
    self.promptTokens = settings.repetitionPenalty == 1 ? [] : Set(promptTokens)
    beams = BeamSet(
      width: settings.width, maxTokens: maxTokens, lengthPenalty: settings.lengthPenalty,
      earlyStopping: settings.earlyStopping)
  }

  /// Beams that the next step samples.
  package var runningCount: Int { beams.running.count }

  /// One token further. `rows[i]` are the alternatives of running beam i, in `all`.
  package mutating func advance(_ rows: [Range<Int>], of all: [TokenLogprob]) -> Outcome {
    let before = beams.running
    let settings = settings
    // Until `minTokens` is reached no beam may end, nor carry an end token in its middle.
    let isMasked = settings.minTokens > before[0].tokens.count
    var continuations: [[(token: TokenID, logprob: Float)]] = []
    for (beam, row) in zip(before, rows) {
      continuations.append(
        all[row].compactMap { next in
          if isMasked && settings.endTokens.contains(next.token) { return nil }
          return (next.token, penalised(next, after: beam))
        })
    }
    beams.advance(continuations, endTokens: settings.endTokens) { parent, token in
      guard let count = settings.logprobs, let chosen = all[rows[parent]].first(where: { $0.token == token }) else {
        return nil
      }
      let row = all[rows[parent]]
      return BeamTrace(
        before: before[parent].trace, chosen: chosen, alternatives: Array(count < 0 ? row : row.prefix(count)))
    }
    if beams.isDone { return .isDecided(beams.best(settings.count).map { BeamWinner(beam: $0.beam) }) }
    return .goesOn(
      beams.running.map { BeamStep(parent: $0.parent, token: $0.tokens[$0.tokens.count - 1]) })
  }

  /// The repetition penalty applies to log-probabilities here: below 1 in probability, hence negative, hence multiplied.
  private func penalised(_ next: TokenLogprob, after beam: BeamSet.Beam) -> Float {
    guard settings.repetitionPenalty != 1 else { return next.logprob }
    let isSeen = promptTokens.contains(next.token) || beam.tokens.contains(next.token)
    return isSeen ? next.logprob * settings.repetitionPenalty : next.logprob
  }
}
