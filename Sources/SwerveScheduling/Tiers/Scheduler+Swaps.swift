import SwerveCore

// Preempted sequences whose blocks go below the device and come back.
extension Scheduler {
  /// Whether a sequence that is preempted has its blocks copied below and brought back, by the rules and what both ways
  /// were measured to cost. Choices of one request share blocks, and one that comes back goes on from another: they are
  /// computed again.
  func swapsOut(_ slot: SlotID) -> Bool {
    let sequence = running[Int(slot.rawValue)]
    let full = Int(sequence.computedTokens) / configuration.blockSize
    guard let rules = configuration.tiers, full > 0, !sequence.isPrivate, !sequence.isForking else { return false }
    // What lies below already, or comes from there or from another block in this step, is not on the device to be copied.
    if sequence.lowerBegin < sequence.lowerEnd || sequence.awaitsCopy || isLoading(slot) { return false }
    switch rules.preemption {
    case .recompute: return false
    case .swap: return true
    case .auto:
      guard let perBlock = tiers?.secondsPerBlock, let perToken = tiers?.secondsPerToken else { return true }
      return 2 * perBlock < perToken * Double(configuration.blockSize)
    }
  }

  /// Whether a sequence that loses its blocks may find copies below of those that became full: they were made when they did.
  func wasKept(_ slot: SlotID) -> Bool {
    let sequence = running[Int(slot.rawValue)]
    return configuration.tiers != nil && configuration.enablePrefixCaching && !sequence.isPrivate && !sequence.isForking
      && !exceedsDevice(Int(sequence.knownTokens))
  }

  /// Orders the copy of a preempted sequence's full blocks; before they are given back.
  mutating func swapOut(_ slot: SlotID) {
    let sequence = running[Int(slot.rawValue)]
    let full = Int(sequence.computedTokens) / configuration.blockSize
    let group = groups[sequence.group]
    let known = group.prompt + generated[Int(slot.rawValue)]
    var blocks: [BlockID] = []
    tables.copyPrefix(full, of: slot, to: &blocks)
    tiers?.orders.swapOuts.append(
      SwapOut(
        sequence: sequence.sequence, salt: group.salt, tokens: Array(known[..<(full * configuration.blockSize)]),
        blocks: blocks))
    counters.swappedPreemptions += 1
  }

  /// Whether a block gets its content in this step, by an order that is not carried out yet.
  func isLoading(_ block: BlockID) -> Bool { tiers?.orders.loads.contains { $0.block == block } ?? false }

  private func isLoading(_ slot: SlotID) -> Bool {
    tiers?.orders.loads.contains {
      $0.block != nil && Int($0.position) < tables.count(slot) && tables[slot, Int($0.position)] == $0.block
    } ?? false
  }
}
