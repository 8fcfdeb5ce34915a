import SwerveCore

/// Something in the scheduler's state does not add up. Always a fault of this room, or of who changed its state.
package struct InvariantViolation: Error, Hashable, CustomStringConvertible {
  package var description: String
}

extension Scheduler {
  /// Compares everything that is written down twice and throws the first disagreement. Valid between steps (not between
  /// `schedule` and `apply`). It changes nothing and traps on nothing. O(blocks × block size + sequences + waiting):
  /// for tests and idle time.
  package func checkInvariants() throws(InvariantViolation) {
    let held =
      pool.violation() ?? lower.violation() ?? cache.violation() ?? slotViolation() ?? blockViolation()
      ?? sequenceViolation()
    let kept = held ?? bankViolation() ?? evictionViolation() ?? heapViolation() ?? heldViolation()
    let found = kept ?? queueViolation() ?? groupViolation() ?? tierViolation()
    if let found { throw InvariantViolation(description: found) }
  }

  /// Each slot is free or in the order, once; the order is the policy's.
  private func slotViolation() -> String? {
    var uses = [Int](repeating: 0, count: running.count)
    for slot in freeSlots {
      uses[Int(slot.rawValue)] += 1
      if running[Int(slot.rawValue)].isActive { return "slot \(slot.rawValue) is free and active" }
      if tables.count(slot) > 0 { return "slot \(slot.rawValue) is free and holds blocks" }
    }
    for slot in order {
      uses[Int(slot.rawValue)] += 1
      if !running[Int(slot.rawValue)].isActive { return "slot \(slot.rawValue) runs and is not active" }
    }
    for (index, group) in groups.all {
      guard let beams = group.beams else { continue }
      for slot in beams.spares {
        uses[Int(slot.rawValue)] += 1
        if running[Int(slot.rawValue)].isActive || tables.count(slot) > 0 {
          return "slot \(slot.rawValue) is a spare one of a beam search and holds a sequence"
        }
      }
      let held = beams.members.count + beams.spares.count
      if held != (group.running > 0 ? Int(beams.width) : 0) {
        return "request \(group.request.rawValue) holds \(held) slots for \(beams.width) beams"
      }
      for slot in beams.members where running[Int(slot.rawValue)].group != index {
        return "slot \(slot.rawValue) is a beam of another request"
      }
    }
    if let slot = uses.firstIndex(where: { $0 != 1 }) { return "slot \(slot) is in use \(uses[slot]) times" }
    for (a, b) in zip(order, order.dropFirst())
    where !policy.isBefore(running[Int(a.rawValue)].key, running[Int(b.rawValue)].key)
      && !(running[Int(a.rawValue)].isBeam && running[Int(a.rawValue)].group == running[Int(b.rawValue)].group)
    {
      return "slots \(a.rawValue) and \(b.rawValue) run in the wrong order"
    }
    if Set(releases).count != releases.count { return "a slot is released twice in one step" }
    return nil
  }

  /// Holders counted by the pool are those that stand in tables.
  private func blockViolation() -> String? {
    var holders = [Int](repeating: 0, count: configuration.ranges.count)
    for slot in order {
      for position in 0..<tables.count(slot) {
        let block = Int(tables[slot, position].rawValue)
        guard holders.indices.contains(block) else {
          return "slot \(slot.rawValue) holds block \(block), which is none"
        }
        holders[block] += 1
      }
    }
    for block in 0..<configuration.ranges.count {
      let counted =
        block < pool.blockCount ? pool.referenceCount(of: BlockID(block)) : lower.referenceCount(of: BlockID(block))
      if counted != holders[block] {
        return "block \(block) counts \(counted) holders and stands in \(holders[block]) tables"
      }
    }
    return nil
  }

  /// Each sequence's numbers agree with its table, and nobody can reach the blocks it still writes to but those of its own
  /// request, at the same place, who take a copy before they write.
  private func sequenceViolation() -> String? {
    var holders: [BlockID: (group: Int32, position: Int)] = [:]
    for slot in order {
      let sequence = running[Int(slot.rawValue)]
      let name = "sequence \(sequence.sequence.request.rawValue).\(sequence.sequence.index)"
      let computed = Int(sequence.computedTokens)
      let known = Int(sequence.knownTokens)
      let held = tables.count(slot)
      if computed < 0 || computed >= known { return "\(name): \(computed) of \(known) known tokens are computed" }
      if held < configuration.blocks(for: computed) || held > configuration.blocks(for: known) {
        return "\(name): \(held) blocks for \(computed) computed and \(known) known tokens"
      }
      if sequence.remainingTokens > 1 && held != configuration.blocks(for: known) && !sequence.isStreamed {
        return "\(name): \(held) blocks for a prompt of \(known) tokens"
      }
      let hasLower = sequence.lowerBegin < sequence.lowerEnd
      let reachable = min(computed / configuration.blockSize, hasLower ? Int(sequence.lowerBegin) : .max)
      let full = configuration.enablePrefixCaching ? min(reachable, Int(groups[sequence.group].stretch)) : 0
      let sealed = Int(sequence.sealedBlocks)
      if sequence.isPrivate ? sealed > full : sealed != full {
        return "\(name): \(sealed) blocks are sealed, \(full) are full"
      }
      // A restored hypothesis holds blocks that the first one computes for it.
      let awaited = Int(groups[sequence.group].beams?.sharedTokens ?? 0) / configuration.blockSize
      for position in 0..<held {
        let block = tables[slot, position]
        let isLower = hasLower && position >= sequence.lowerBegin && position < sequence.lowerEnd
        if configuration.ranges.isOnDevice(block) == isLower {
          return "\(name): block \(block.rawValue) at \(position) is on the wrong side of the device"
        }
        if isLower {
          if (position + 1) * configuration.blockSize > computed {
            return "\(name): block \(block.rawValue) is below the device and not full"
          }
        } else if position < sealed {
          if !cache.contains(block) { return "\(name): sealed block \(block.rawValue) is not cached" }
          let before = position == 0 ? nil : tables[slot, position - 1]
          if cache.parent(of: block) != before {
            return "\(name): block \(block.rawValue) does not follow the one before it"
          }
        } else if position < awaited {
          continue
        } else if cache.contains(block) {
          return "\(name): block \(block.rawValue) is still written to and cached"
        } else if pool.referenceCount(of: block) != 1 {
          let holder = holders[block] ?? (sequence.group, position)
          holders[block] = holder
          if holder.group != sequence.group || holder.position != position {
            return "\(name): block \(block.rawValue) is still written to and shared"
          }
        }
      }
      let overflow = (0..<held).count { configuration.ranges.isOverflow(tables[slot, $0]) }
      if hasLower && sequence.isForking { return "\(name): blocks that others may share are below the device" }
      if overflow != sequence.overflowBlocks {
        return "\(name): \(overflow) blocks in the overflow store, \(sequence.overflowBlocks) counted"
      }
      let output = generated[Int(slot.rawValue)]
      if output.count != sequence.generatedTokens || (output.last ?? sequence.lastToken) != sequence.lastToken {
        return "\(name): \(output.count) tokens kept, \(sequence.generatedTokens) counted"
      }
      if sequence.maxNewTokens > 0 && sequence.generatedTokens >= sequence.maxNewTokens {
        return "\(name): \(sequence.generatedTokens) tokens generated, \(sequence.maxNewTokens) allowed"
      }
      let most = Int(sequence.promptTokens) + max(Int(sequence.maxNewTokens) - 1, 0)
      if configuration.blocks(for: most) > configuration.sequenceBlocks {
        return "\(name): it can never fit the pool"
      }
    }
    return nil
  }

  /// A cached block is evicted before the one it follows.
  private func evictionViolation() -> String? {
    var places = [Int?](repeating: nil, count: pool.blockCount)
    var place = 0
    for bank in 0..<pool.bankCount {
      var block = pool.freeBlock(after: nil, in: bank)
      while let free = block {
        places[Int(free.rawValue)] = place
        place += 1
        block = pool.freeBlock(after: free)
      }
    }
    for index in 0..<pool.blockCount where cache.contains(BlockID(index)) {
      guard let parent = cache.parent(of: BlockID(index)) else { continue }
      guard let parentPlace = places[Int(parent.rawValue)] else { continue }
      guard let own = places[index], own < parentPlace else {
        return "cached block \(parent.rawValue) is evicted before block \(index), which follows it"
      }
    }
    return nil
  }

  /// A free block is counted as kept where it is cached, and no block is held for copies between steps.
  private func heldViolation() -> String? {
    if !heldSources.isEmpty { return "\(heldSources.count) blocks are held for copies of no step" }
    let free = (0..<pool.blockCount).count { pool.referenceCount(of: BlockID($0)) == 0 && cache.contains(BlockID($0)) }
    return free == pool.keptCount ? nil : "\(free) free blocks are cached, \(pool.keptCount) are kept"
  }

  /// Where costs decide: what may be evicted is in the heap, and nothing else is.
  private func heapViolation() -> String? {
    guard let evictions else { return nil }
    if let found = evictions.violation() { return found }
    for index in 0..<pool.blockCount {
      let block = BlockID(index)
      let mayGo = pool.referenceCount(of: block) == 0 && cache.contains(block) && cache.childCount(of: block) == 0
      if evictions.contains(block) != mayGo {
        return "block \(index) \(mayGo ? "may" : "must not") be evicted and is \(mayGo ? "not " : "")in the heap"
      }
    }
    return nil
  }

  private func queueViolation() -> String? {
    var counted = 0
    var kept = 0
    var unstartedTokens = 0
    for (lane, place) in waiting.places {
      counted += 1
      let entry = waiting[place]
      if entry.preempted?.isSwapped == true { kept += 1 }
      if entry.key.lane != lane { return "lane \(lane) holds an entry of lane \(entry.key.lane)" }
      if place.position > 0 {
        let before = waiting[RequestQueue.Place(lane: lane, position: place.position - 1)]
        if !policy.isBefore(before.key, entry.key) { return "lane \(lane) is out of order at \(place.position)" }
      }
      guard let found = groups.group(at: entry.group) else {
        return "the queue's entry \(place.position) belongs to no request"
      }
      if found.key.serial != entry.key.serial {
        return "the queue's entry \(place.position) belongs to another request"
      }
      if entry.preempted == nil && entry.key.choice != found.nextChoice {
        return "request \(found.request.rawValue): choice \(entry.key.choice) waits, \(found.nextChoice) is next"
      }
      if entry.preempted == nil && entry.key.choice == 0 { unstartedTokens += found.prompt.count }
    }
    if counted != waiting.count { return "\(counted) entries wait, \(waiting.count) counted" }
    if kept != waiting.keptCount { return "\(kept) entries have blocks below, \(waiting.keptCount) counted" }
    if unstartedTokens != counters.waitingTokens {
      return "\(unstartedTokens) prompt tokens wait, \(counters.waitingTokens) counted"
    }
    var held = [Int32](repeating: 0, count: waiting.lanes.count)
    for slot in order { held[Int(running[Int(slot.rawValue)].key.lane)] += 1 }
    return waiting.violation(running: held)
  }

  /// Every unfinished choice runs, waits or has not started.
  private func groupViolation() -> String? {
    var runningCounts: [Int32: Int32] = [:]
    for slot in order { runningCounts[running[Int(slot.rawValue)].group, default: 0] += 1 }
    var waitingCounts: [Int32: Int32] = [:]
    for (_, place) in waiting.places {
      let entry = waiting[place]
      let choices = entry.preempted == nil ? groups[entry.group].choices - entry.key.choice : 1
      waitingCounts[entry.group, default: 0] += choices
    }
    for (index, group) in groups.all {
      let runs = runningCounts[index] ?? 0
      let waits = waitingCounts[index] ?? 0
      let name = "request \(group.request.rawValue)"
      if group.running != runs { return "\(name): \(runs) choices run, \(group.running) counted" }
      if let beams = group.beams {
        if group.unfinished != 1 || (runs > 0) == (waits > 0) || Int(runs) != beams.members.count {
          return "\(name): \(runs) beams run, \(beams.members.count) counted, \(waits) wait"
        }
      } else if group.unfinished != runs + waits {
        return "\(name): \(runs) choices run, \(waits) wait, \(group.unfinished) are unfinished"
      }
      if groups.index(of: group.request) != index { return "\(name) is not found by its id" }
    }
    if runningRequests != runningCounts.count {
      return "\(runningCounts.count) requests run, \(runningRequests) counted"
    }
    return nil
  }
}
