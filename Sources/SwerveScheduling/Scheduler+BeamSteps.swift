package import SwerveCore

/// One hypothesis of a beam search's next step: which of the present ones it goes on from, and with which token.
package struct BeamStep: Sendable, Hashable {
  /// Place among the hypotheses of the last step, in the order of its plan.
  package var parent: Int
  package var token: TokenID

  package init(parent: Int, token: TokenID) {
    self.parent = parent
    self.token = token
  }
}

// Between `apply` and the next `schedule`: the owner of a beam search looks at what the step sampled for its hypotheses and
// says how each goes on. Tables fork; no key and no value moves until a hypothesis writes into a block that others hold.
extension Scheduler {
  /// Replaces a search's hypotheses, all of which were sampled in the step just applied, by others, each a present one
  /// and one token more. The first that goes on from one keeps its table, others share its blocks; those of hypotheses
  /// that nobody goes on from are free at once.
  ///
  /// `next`: between 1 and the width, parents in range. A search that is gone (cancelled, failed, expired) is ignored.
  /// O(hypotheses × blocks)
  package mutating func continueBeams(_ request: RequestID, _ next: [BeamStep]) {
    guard let group = groups.index(of: request), let beams = groups[group].beams, !beams.members.isEmpty else { return }
    let parents = beams.members
    precondition(
      (1...Int(beams.width)).contains(next.count) && next.allSatisfy { parents.indices.contains($0.parent) },
      "a search of width \(beams.width) cannot go on with \(next.count) hypotheses")
    var members = [SlotID?](repeating: nil, count: next.count)
    var isKept = [Bool](repeating: false, count: parents.count)
    for (place, step) in next.enumerated() where !isKept[step.parent] {
      isKept[step.parent] = true
      members[place] = parents[step.parent]
    }
    var spares = beams.spares
    for (place, slot) in parents.enumerated() where !isKept[place] {
      vacate(slot)
      spares.append(slot)
    }
    // Before any gets its token: a table is shared as its parent was computed.
    for (place, step) in next.enumerated() where members[place] == nil {
      let slot = spares.removeLast()
      forkBeam(parents[step.parent], to: slot)
      members[place] = slot
    }
    groups[group].beams?.members = members.compactMap(\.self)
    groups[group].beams?.spares = spares
    for (slot, step) in zip(groups[group].beams?.members ?? [], next) {
      let index = Int(slot.rawValue)
      generated[index].append(step.token)
      running[index].generatedTokens += 1
      running[index].lastToken = step.token
    }
  }

  /// Ends a search and gives back its blocks and slots. `tokens` were generated for its client. Answers how often it was
  /// preempted; nil when it is gone.
  @discardableResult
  package mutating func endBeams(_ request: RequestID, tokens: Int) -> Int? {
    guard let group = groups.index(of: request), let first = groups[group].beams?.members.first else { return nil }
    let preemptions = Int(running[Int(first.rawValue)].preemptions)
    counters.generationTokens += tokens
    releaseBeams(group)
    finishedChoice(of: group)
    return preemptions
  }

  /// Most tokens that the request's sequences may generate; nil when there is no such request.
  package func maxNewTokens(of request: RequestID) -> Int? {
    groups.index(of: request).map { Int(groups[$0].maxNewTokens) }
  }

  private mutating func forkBeam(_ parent: SlotID, to slot: SlotID) {
    let index = Int(slot.rawValue)
    let name = running[index].sequence
    running[index] = running[Int(parent.rawValue)]
    running[index].sequence = name
    generated[index] = generated[Int(parent.rawValue)]
    shareTable(of: parent, with: slot)
    startRunning(slot)
  }
}
