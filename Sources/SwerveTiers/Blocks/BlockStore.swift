/// Where a transfer lane puts blocks and takes them from: `FileTier`, and doubles in tests.
package protocol BlockStore: Sendable {
  /// Keeps a block. Waits as long as it takes.
  func store(
    _ identity: BlockIdentity, from bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool
  ) -> StoreOutcome
  /// Brings a block back into `bytes`; their content is undefined after a miss. Waits as long as it takes.
  func load(_ identity: BlockIdentity, into bytes: UnsafeMutableRawBufferPointer) -> LoadOutcome
}

package enum StoreOutcome: Hashable, Sendable {
  case stored(fileBytes: Int)
  /// It was there already, or is being written by somebody else.
  case present
  case refused(StoreRefusal)
}

package enum StoreRefusal: Hashable, Sendable {
  /// The tier is not written now, or never.
  case readOnly
  case diskFull
  case failure(errno: Int32)
  /// Not beside what is being written.
  case noRoom
  /// The tenant's key file belongs to another master key, or is damaged.
  case noKey
  /// Not a block of the model and shape the tier was opened for.
  case wrongShape
}

package enum LoadOutcome: Hashable, Sendable {
  /// `isLossy`: the keys and values went through a lower precision; a request that reads them must say so.
  case hit(isLossy: Bool)
  case miss(MissReason)
}

/// Why a block could not be used.
package enum MissReason: Hashable, Sendable {
  case absent
  /// The tenant has no key.
  case noKey
  /// Sealed with another key.
  case foreignKey
  /// Cut short, altered, or no block file at all.
  case damaged
  /// Of another generation than the one in the index, or older than the last `removeAll`.
  case stale
  case otherModel
  case otherShape
  /// Another block, properly sealed: a collision of names.
  case otherBlock
  case failure(errno: Int32)
}
