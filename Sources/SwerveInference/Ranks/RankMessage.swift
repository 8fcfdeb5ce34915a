package import SwerveCore
import SwerveHardware

/// What rank 0 tells the others over their control channels: a header, then a body of 32-bit words. A receiver checks
/// all of it before it believes anything.
package struct RankMessage {
  package enum Kind: UInt32 { case plan = 1, tile, stop, report, share, pack, unpack }

  static let magic: UInt32 = 0x4b52_5753  // "SWRK"
  static let version: UInt32 = 1
  /// magic, version, kind, words of the body, two words of a plan's number, two of the body's checksum.
  static let headerWords = 8
  /// More than any step needs; less than any overflow.
  static let mostWords = 1 << 28

  package var kind: Kind
  /// Of the plan that this is, or that a tile belongs to.
  package var plan: UInt64

  package init(_ kind: Kind, plan: UInt64) {
    self.kind = kind
    self.plan = plan
  }

  package func send(_ body: RankWords, over channel: any Channel) throws(ChannelError) {
    let checksum = Checksum.of(body.bytes)
    let room = try channel.reserve(Self.headerWords * 4).bindMemory(to: UInt32.self)
    room[0] = Self.magic
    room[1] = Self.version
    room[2] = kind.rawValue
    room[3] = UInt32(body.count)
    room[4] = UInt32(truncatingIfNeeded: plan)
    room[5] = UInt32(truncatingIfNeeded: plan >> 32)
    room[6] = UInt32(truncatingIfNeeded: checksum)
    room[7] = UInt32(truncatingIfNeeded: checksum >> 32)
    try channel.send(Self.headerWords * 4)
    try channel.sendAll(body.bytes)
  }

  /// Waits for a message; its body replaces what `body` held.
  package static func receive(
    into body: RankWords, over channel: any Channel, from peer: String
  ) throws(ChannelError) -> RankMessage {
    func fail(_ reason: String) -> ChannelError { .malformed(peer: peer, reason: reason) }
    let header = try channel.receive(byteCount: headerWords * 4, from: peer)
    func word(_ index: Int) -> UInt32 { header.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self) }
    func long(_ index: Int) -> UInt64 { UInt64(word(index)) | UInt64(word(index + 1)) << 32 }
    guard word(0) == magic, word(1) == version else { throw fail("it speaks another version; start all ranks alike") }
    guard let kind = Kind(rawValue: word(2)), word(3) <= UInt32(mostWords) else { throw fail("an unknown message") }
    let count = Int(word(3))
    let message = RankMessage(kind, plan: long(4))
    let checksum = long(6)
    try channel.release()
    body.resize(count)
    try channel.receiveAll(into: body.mutableBytes, from: peer)
    guard Checksum.of(body.bytes) == checksum else { throw fail("a message that does not agree with its checksum") }
    return message
  }
}

/// The words of a message, written from first to last, then read so. Memory is kept and grows by doubling.
package final class RankWords {
  private var memory: UnsafeMutablePointer<UInt32>
  private var capacity: Int
  package private(set) var count = 0
  private var place = 0

  package init(capacity: Int = 1024) {
    self.capacity = capacity
    memory = .allocate(capacity: capacity)
  }

  deinit { memory.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: count * 4) }
  var mutableBytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: memory, count: count * 4) }

  package func removeAll() {
    count = 0
    place = 0
  }

  /// Room for words to be received, which are then read from the first on.
  func resize(_ words: Int) {
    removeAll()
    grow(to: words)
    count = words
  }

  private func grow(to words: Int) {
    guard words > capacity else { return }
    var larger = max(capacity, 1)
    while larger < words { larger *= 2 }
    let moved = UnsafeMutablePointer<UInt32>.allocate(capacity: larger)
    moved.update(from: memory, count: count)
    memory.deallocate()
    memory = moved
    capacity = larger
  }

  func append(_ word: UInt32) {
    grow(to: count + 1)
    memory[count] = word
    count += 1
  }

  func append(_ number: Int32) { append(UInt32(bitPattern: number)) }

  /// Replaces a word: for tests of what readers believe.
  package func change(_ place: Int, to word: UInt32) {
    precondition(place < count, "a word that is there")
    memory[place] = word
  }

  // MARK: Reading

  var remaining: Int { count - place }

  /// The next word; 0 beyond the last, which `isOverrun` then says.
  func next() -> UInt32 {
    guard place < count else {
      isOverrun = true
      return 0
    }
    defer { place += 1 }
    return memory[place]
  }

  func nextInt() -> Int32 { Int32(bitPattern: next()) }

  private(set) var isOverrun = false

  func beginReading() {
    place = 0
    isOverrun = false
  }
}
