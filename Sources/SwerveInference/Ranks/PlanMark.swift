import SwerveCore
import SwerveHardware

/// Which plan a rank executes: its number and a checksum of all that the ranks are told of it. Neighbours compare theirs
/// before they compute: ranks with other rows would exchange sums that fit and mean nothing.
struct PlanMark: Sendable, Hashable {
  var plan: UInt64
  var checksum: UInt64

  private static let byteCount = 16

  init(plan: UInt64, words: RankWords) {
    self.plan = plan
    checksum = Checksum.of(words.bytes)
  }

  /// Tells the neighbours, and hears theirs.
  ///
  /// - Throws: `.malformed` for one that executes another plan.
  func agree(over links: RankLinks) throws(ChannelError) {
    for partner in links.tensor {
      try tell(partner)
      try compare(partner)
    }
    // Both ways: a stage that computed another plan first would leave keys and values of it behind.
    if let next = links.next { try tell(next) }
    if let previous = links.previous { try tell(previous) }
    if let next = links.next { try compare(next) }
    if let previous = links.previous { try compare(previous) }
  }

  private func tell(_ link: RankLink) throws(ChannelError) {
    let room = try link.send.reserve(Self.byteCount)
    room.storeBytes(of: plan.littleEndian, as: UInt64.self)
    room.storeBytes(of: checksum.littleEndian, toByteOffset: 8, as: UInt64.self)
    try link.send.send(Self.byteCount)
  }

  private func compare(_ link: RankLink) throws(ChannelError) {
    let message = try link.receive.receive(byteCount: Self.byteCount, from: link.peer)
    let theirs = UInt64(littleEndian: message.loadUnaligned(as: UInt64.self))
    let check = UInt64(littleEndian: message.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    try link.receive.release()
    guard theirs == plan, check == checksum else {
      throw .malformed(
        peer: link.peer,
        reason: "it executes plan \(theirs) (\(String(check, radix: 16))) where this rank executes plan \(plan) "
          + "(\(String(checksum, radix: 16)))")
    }
  }
}
