/// A block's place in a host tier. The generation changes whenever the place gets another block, so a slot kept for too
/// long is noticed: it names nothing.
package struct HostSlot: Hashable, Sendable {
  package let index: Int32
  package let generation: UInt32
}

/// What asking for a place gave.
package enum HostReservation: Hashable, Sendable {
  /// A place to fill, pinned once. Ends with `seal` or `abandon`.
  case reserved(HostSlot)
  /// The block is here already; not pinned.
  case present(HostSlot)
  /// Somebody else is filling the block now.
  case filling(HostSlot)
  /// Every place is pinned, or another block has the same table key.
  case refused
}
