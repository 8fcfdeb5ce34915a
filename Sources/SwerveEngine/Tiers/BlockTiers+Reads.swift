import SwerveCore
import SwerveScheduling
import SwerveTiers
import SwerveTransfer

extension BlockTiers {
  /// Starts the reads that the scheduler asked for.
  func begin(_ orders: [ReadOrder]) {
    if orders.isEmpty { return }
    let now = clock()
    for order in orders {
      // What the device has is in the chain already: nothing is hashed twice.
      let parent = order.parent.map { digests[Int($0.rawValue)] }
      if !order.isSwapped { totals.queriedTokens += (order.limit - order.first) * shape.blockTokens }
      let external = order.isSwapped ? nil : expected[order.sequence.request]
      if external != nil { externalQueriedTokens += (order.limit - order.first) * shape.blockTokens }
      reads.append(
        TierReading(
          order: order, external: external, scope: scope(salt: order.salt, of: order.sequence), parent: parent,
          asked: now))
    }
    isChanged = true
  }

  /// Looks further blocks up, oldest read first, and starts fetching those that are in files. At most 256 blocks a step.
  func extendReads() {
    var budget = 256
    let began = reads.isEmpty ? 0 : clock()
    for index in reads.indices {
      settle(index)
      if reads[index].end == nil && budget > 0 { extend(index, &budget) }
      reads[index].countReady()
      if !reads[index].hasArrived, let end = reads[index].end, reads[index].base + reads[index].readyCount >= end {
        reads[index].hasArrived = true
        if end > reads[index].order.first { totals.arrivalSeconds.add(clock() - reads[index].asked) }
      }
    }
    if budget < 256 {
      totals.lookupSeconds.add(clock() - began)
      isChanged = true
    }
  }

  private func extend(_ index: Int, _ budget: inout Int) {
    let wasBlocked = reads[index].isBlocked
    reads[index].isBlocked = false
    while budget > 0, reads[index].end == nil {
      if reads[index].next >= reads[index].order.limit {
        set(end: reads[index].order.limit, of: index)
      } else if extendExternally(index, &budget) {
        continue
      } else if !keepsBlocks {
        set(end: reads[index].next, of: index)
      } else if heldCount >= (reads[index].order.isSwapped ? heldLimit : max(1, heldLimit / 2)) {
        reads[index].isBlocked = true
        break
      } else {
        budget -= 1
        let identity = reads[index].nextIdentity(blockTokens: shape.blockTokens)
        if !extend(index, with: identity) { break }
      }
    }
    if reads[index].isBlocked != wasBlocked { reads[index].isChanged = true }
  }

  /// Adds the next block to a window where another engine has sent it, or is about to.
  private func extendExternally(_ index: Int, _ budget: inout Int) -> Bool {
    guard let external = reads[index].external else { return false }
    let isReady = external.isReady(reads[index].next)
    guard isReady || external.mayCome(reads[index].next) else { return false }
    budget -= 1
    reads[index].window.append(
      TierReading.Entry(
        identity: reads[index].nextIdentity(blockTokens: shape.blockTokens), slot: nil, external: external,
        state: isReady ? .ready : .coming, source: .host, seconds: clock()))
    return true
  }

  /// Adds the next block to a window, or ends the read before it. False when there is no room now.
  private func extend(_ index: Int, with identity: BlockIdentity) -> Bool {
    let now = clock()
    if let slot = host.find(identity), host.pinIntact(slot) {
      add(
        TierReading.Entry(
          identity: identity, slot: slot, state: .ready, source: .host, seconds: clock() - now,
          isLossy: host.isLossy(slot)), to: index)
      return true
    }
    guard let lane, let files, files.contains(identity) else {
      set(end: reads[index].next, of: index)
      return true
    }
    switch host.reserve(identity, reloadCost: reloadCost) {
    case .reserved(let slot):
      let id = newTransfer()
      guard let memory = host.memory(of: slot) else { preconditionFailure("a reserved place is pinned") }
      if let refusal = lane.submit(.fetch(id, identity, into: memory)) {
        host.abandon(slot)
        if refusal == .ended { set(end: reads[index].next, of: index) } else { reads[index].isBlocked = true }
        return refusal == .ended
      }
      transfers[id] = Transfer(kind: .fetch(read: reads[index].id, position: reads[index].next), slot: slot)
      add(
        TierReading.Entry(identity: identity, slot: slot, state: .fetching(id), source: .files, seconds: now),
        to: index)
      return true
    case .filling(let slot):
      add(
        TierReading.Entry(identity: identity, slot: slot, state: .elsewhere, source: .files, seconds: now), to: index)
      return true
    case .present, .refused:
      totals.allocationFailures += 1
      reads[index].isBlocked = true
      return false
    }
  }

  private func add(_ entry: TierReading.Entry, to index: Int) {
    reads[index].window.append(entry)
    heldCount += 1
  }

  private func set(end: Int, of index: Int) {
    reads[index].end = end
    reads[index].isChanged = true
  }

  /// Looks at blocks that other reads fetch.
  private func settle(_ index: Int) {
    for place in reads[index].window.indices.dropFirst(reads[index].readyCount) {
      let entry = reads[index].window[place]
      if case .coming = entry.state, let external = entry.external {
        if external.isReady(reads[index].base + place) {
          reads[index].window[place].state = .ready
        } else if !external.mayCome(reads[index].base + place) {
          // It was lost on its way: what else there is begins here.
          truncate(index, at: place)
          reads[index].end = nil
          return
        }
        continue
      }
      guard case .elsewhere = entry.state else { continue }
      if let slot = host.find(entry.identity), host.pinIntact(slot) {
        reads[index].window[place].slot = slot
        reads[index].window[place].state = .ready
        reads[index].window[place].isLossy = host.isLossy(slot)
        reads[index].window[place].seconds = clock() - entry.seconds
      } else if !host.isFilling(entry.identity) {
        // The other one had a miss: look again from here on.
        truncate(index, at: place)
        reads[index].end = nil
        return
      }
    }
  }

  /// Gives up a window's entries from `place` on.
  func truncate(_ index: Int, at place: Int) {
    for entry in reads[index].window[max(place, reads[index].taken)...] { release(entry) }
    reads[index].window.removeLast(reads[index].window.count - place)
    reads[index].isChanged = true
  }

  private func release(_ entry: TierReading.Entry) {
    guard let slot = entry.slot else { return }
    heldCount -= 1
    switch entry.state {
    case .ready: host.unpin(slot)
    case .elsewhere, .coming: break
    case .fetching(let id):
      // Its completion gives the place back.
      if case .fetch(_, let position)? = transfers[id]?.kind {
        transfers[id]?.kind = .fetch(read: nil, position: position)
      }
      lane?.cancel(id)
    }
  }

  /// Nothing of a read is wanted any more.
  func end(_ id: UInt64) {
    guard let index = reads.firstIndex(where: { $0.id == id }) else { return }
    truncate(index, at: 0)
    reads.remove(at: index)
  }

  /// The window's entry for a position about to be loaded; those before it are given up. Its pin is the caller's.
  func take(_ position: Int, of id: UInt64) -> TierReading.Entry? {
    guard let index = reads.firstIndex(where: { $0.id == id }) else { return nil }
    let place = position - reads[index].base
    guard place >= reads[index].taken, place < reads[index].readyCount else { return nil }
    for entry in reads[index].window[reads[index].taken..<place] { release(entry) }
    reads[index].taken = place + 1
    if reads[index].window[place].slot != nil { heldCount -= 1 }
    return reads[index].window[place]
  }

  /// A fetch of a read ended. The place is sealed and pinned when it was a hit, and gone otherwise.
  func fetched(_ id: UInt64?, position: Int, slot: HostSlot, isHit: Bool, seconds: Double) {
    guard let id, let index = reads.firstIndex(where: { $0.id == id }), position >= reads[index].base,
      position < reads[index].next, reads[index].window[position - reads[index].base].slot == slot
    else {
      if isHit { host.unpin(slot) }
      return
    }
    let place = position - reads[index].base
    guard isHit else {
      // The entry has no transfer and no pin any more.
      reads[index].window[place].state = .elsewhere
      truncate(index, at: place)
      set(end: position, of: index)
      return
    }
    reads[index].window[place].state = .ready
    reads[index].window[place].seconds = seconds
    reads[index].window[place].isLossy = host.isLossy(slot)
  }
}
