/// Names a transfer; chosen by whoever submits it, and not used twice at a time.
package struct TransferID: RawRepresentable, Hashable, Sendable {
  package var rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A block to be moved. Until its completion the memory keeps what `BlockMemory` promises.
package struct TransferRequest: Sendable {
  package enum Kind: Sendable, Hashable {
    /// From memory to the store.
    case spill(reloadCost: Double, isLossy: Bool)
    /// From the store to memory.
    case fetch
  }

  package let id: TransferID
  package let kind: Kind
  package let identity: BlockIdentity
  package let memory: BlockMemory

  package init(id: TransferID, kind: Kind, identity: BlockIdentity, memory: BlockMemory) {
    self.id = id
    self.kind = kind
    self.identity = identity
    self.memory = memory
  }

  package static func spill(
    _ id: TransferID, _ identity: BlockIdentity, from memory: BlockMemory, reloadCost: Double, isLossy: Bool = false
  ) -> TransferRequest {
    TransferRequest(
      id: id, kind: .spill(reloadCost: reloadCost, isLossy: isLossy), identity: identity, memory: memory)
  }

  package static func fetch(
    _ id: TransferID, _ identity: BlockIdentity, into memory: BlockMemory
  ) -> TransferRequest {
    TransferRequest(id: id, kind: .fetch, identity: identity, memory: memory)
  }
}

/// How an accepted transfer ended. Each ends exactly once.
package struct TransferCompletion: Sendable, Hashable {
  package enum Outcome: Sendable, Hashable {
    case spilled(StoreOutcome)
    case fetched(LoadOutcome)
    /// Taken back by `cancel` before it began.
    case cancelled
    /// Not begun when the lane ended.
    case abandoned
  }

  package let id: TransferID
  package let outcome: Outcome
  /// Seconds from submission to the end.
  package let seconds: Double

  package init(id: TransferID, outcome: Outcome, seconds: Double) {
    self.id = id
    self.outcome = outcome
    self.seconds = seconds
  }
}

/// Why a transfer was not accepted; the block stays where it is, and it may be tried again later.
package enum TransferRefusal: Hashable, Sendable {
  /// As many transfers of the kind wait as the lane holds.
  case full
  /// The lane is ending, or has ended.
  case ended
}
