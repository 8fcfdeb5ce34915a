import CAllocationCounter
import Foundation
import SwerveCore
import SwerveTransfer
import Synchronization
import Testing

/// Both ends of a channel in this process.
struct ChannelPair {
  let memory: SharedMemory
  let capacity: Int

  init(capacity: Int) throws {
    memory = try SharedMemory(byteCount: SharedChannel.byteCount(capacity: capacity))
    self.capacity = capacity
  }

  func make(
    _ end: SharedChannel.End, deadline: Double = 10, watch: (any PeerWatch)? = nil, checks: Bool = false,
    turns: Bool = false
  ) -> SharedChannel {
    SharedChannel(
      memory, at: 0, capacity: capacity, end: end,
      .init(
        peer: end == .sender ? "the reader" : "the writer", deadline: deadline,
        spin: SpinBudget(threads: turns ? .max : 1),
        turns: TurnBudget(isOn: turns), watch: watch, checksContent: checks))
  }
}

/// Runs on a thread of its own; `wait` returns when it has ended.
final class Worker: Sendable {
  private let isOver = Mutex(false)

  init(_ body: @escaping @Sendable () -> Void) {
    Thread.detachNewThread {
      body()
      self.isOver.withLock { $0 = true }
    }
  }

  func wait() { while !isOver.withLock({ $0 }) { usleep(200) } }
}

func sent(_ channel: SharedChannel, _ bytes: [UInt8]) throws {
  let place = try channel.reserve(bytes.count)
  place.copyBytes(from: bytes)
  try channel.send(bytes.count)
}

@Suite struct SharedChannelTests {
  @Test(arguments: [64, 1000, 300_000]) func messagesArriveInOrderAndUnchanged(capacity: Int) throws {
    let pair = try ChannelPair(capacity: capacity)
    let lengths = (0..<4000).map { index in
      let random = UInt64(index) &* 0x9E37_79B9_7F4A_7C15 >> 20
      return index % 7 == 0 ? capacity : Int(random % UInt64(capacity + 1)) >> (index % 5)
    }
    let sender = Worker {
      let channel = pair.make(.sender)
      for (index, length) in lengths.enumerated() {
        guard let place = try? channel.reserve(length) else { return }
        for at in stride(from: 0, to: length, by: 61) { place[at] = UInt8(truncatingIfNeeded: at &+ index) }
        if length > 0 { place[length - 1] = UInt8(truncatingIfNeeded: index) }
        guard (try? channel.send(length)) != nil else { return }
      }
    }
    let receiver = pair.make(.receiver)
    var total = 0
    for (index, length) in lengths.enumerated() {
      let message = try receiver.receive()
      #expect(Int(bitPattern: message.baseAddress) % 64 == 0)
      guard message.count == length else {
        Issue.record("message \(index) has \(message.count) bytes, not \(length)")
        return
      }
      for at in stride(from: 0, to: max(length - 1, 0), by: 61)
      where message[at] != UInt8(truncatingIfNeeded: at &+ index) {
        Issue.record("message \(index) is damaged at \(at)")
        return
      }
      if length > 0 { #expect(message[length - 1] == UInt8(truncatingIfNeeded: index)) }
      try receiver.release()
      total += length
    }
    sender.wait()
    #expect(receiver.byteCount == total)
  }

  @Test func aSilentPeerIsNotWaitedForLongerThanTheDeadline() throws {
    let pair = try ChannelPair(capacity: 256)
    let receiver = pair.make(.receiver, deadline: 0.05)
    let sender = pair.make(.sender, deadline: 0.05)
    #expect(try !receiver.hasMessage(within: 0.01))
    #expect(throws: ChannelError.timedOut(peer: "the writer", seconds: 0.05)) { try receiver.receive() }
    #expect(throws: ChannelError.timedOut(peer: "the writer", seconds: 0.05)) { try receiver.receive() }
    // Room for two long ones; nobody reads.
    try sent(sender, [UInt8](repeating: 1, count: 256))
    try sent(sender, [UInt8](repeating: 2, count: 256))
    #expect(throws: ChannelError.timedOut(peer: "the reader", seconds: 0.05)) { try sender.reserve(256) }
    #expect(throws: ChannelError.tooLong(peer: "the reader", byteCount: 257, capacity: 256)) {
      try pair.make(.sender).reserve(257)
    }
  }

  @Test func whatWasWrittenBeforeTheEndIsRead() throws {
    let pair = try ChannelPair(capacity: 256)
    var sender: SharedChannel? = pair.make(.sender)
    try sent(try #require(sender), [1, 2, 3])
    sender = nil
    let receiver = pair.make(.receiver)
    #expect(try Array(receiver.receive()) == [1, 2, 3])
    try receiver.release()
    #expect(throws: ChannelError.closed(peer: "the writer")) { try receiver.receive() }
    #expect(throws: ChannelError.closed(peer: "the writer")) { try receiver.hasMessage(within: 1) }
  }

  final class Gone: PeerWatch {
    let hasEnded = true
  }

  @Test func aPeerThatDiedIsNoticedBeforeTheDeadline() throws {
    let pair = try ChannelPair(capacity: 256)
    let receiver = pair.make(.receiver, deadline: 3600, watch: Gone())
    #expect(throws: ChannelError.closed(peer: "the writer")) { try receiver.receive() }
  }

  @Test func aMessageWhoseHeaderIsDamagedIsNeverDelivered() throws {
    // The words of the header: 24 bytes behind the two lines of the ring.
    for bit in 0..<24 * 8 {
      let pair = try ChannelPair(capacity: 256)
      try sent(pair.make(.sender), [UInt8](repeating: 7, count: 100))
      let receiver = pair.make(.receiver)
      pair.memory.part(at: 128, 24)[bit / 8] ^= UInt8(1 << (bit % 8))
      #expect {
        try receiver.receive()
      } throws: { error in
        guard case .malformed? = error as? ChannelError else { return false }
        return true
      }
    }
  }

  @Test func positionsBeyondTheRingAreRefused() throws {
    for (offset, end) in [(0, SharedChannel.End.receiver), (64, .sender)] {
      for value: UInt64 in [1, 64 * 1000, .max, .max - 63] {
        let pair = try ChannelPair(capacity: 256)
        pair.memory.part(at: offset, 8).storeBytes(of: value, as: UInt64.self)
        let channel = pair.make(end, deadline: 1)
        #expect {
          if end == .sender { _ = try channel.reserve(8) } else { _ = try channel.receive() }
        } throws: { error in
          guard case .malformed? = error as? ChannelError else { return false }
          return true
        }
      }
    }
  }

  @Test func randomMemoryIsAnErrorAndNoTrap() throws {
    var state: UInt64 = 42
    func random() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ (state >> 29)
    }
    for _ in 0..<3000 {
      let pair = try ChannelPair(capacity: 256)
      try sent(pair.make(.sender), [UInt8](repeating: 9, count: Int(random() % 257)))
      let all = pair.memory.part(at: 0, SharedChannel.byteCount(capacity: 256))
      for _ in 0..<Int(random() % 6) + 1 { all[Int(random() % 200)] = UInt8(truncatingIfNeeded: random()) }
      let receiver = pair.make(.receiver, deadline: 0)
      if let message = try? receiver.receive() { #expect(message.count <= 256) }
    }
  }

  @Test func memoryThatCouldBeResizedIsNotMapped() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "swerve-\(UUID().uuidString)").path
    let file = open(path, O_RDWR | O_CREAT, 0o600)
    defer { unlink(path) }
    #expect(ftruncate(file, 4096) == 0)
    #expect(throws: TransferError.self) { try SharedMemory(mapping: Descriptor(file), byteCount: 4096) }
    let sealed = try SharedMemory(name: "swerve-test", byteCount: 4096)
    let number = try #require(sealed.file).number
    #expect(ftruncate(number, 0) != 0)
    var status = stat()
    #expect(fstat(number, &status) == 0 && status.st_mode & 0o777 == 0o600)
    let other = try SharedMemory(mapping: Descriptor(dup(number)), byteCount: 4096)
    sealed.part(at: 100, 1)[0] = 77
    #expect(other.part(at: 100, 1)[0] == 77)
    #expect(throws: TransferError.self) { try SharedMemory(mapping: Descriptor(dup(number)), byteCount: 8192) }
  }

  @Test(arguments: [0, 1, 63, 64, 4000]) func anyBitThatChangesOnItsWayIsNoticed(count: Int) throws {
    for bit in Set([0, 5, count * 4, count * 8 - 1]) where bit >= 0 && bit < count * 8 {
      let pair = try ChannelPair(capacity: 4096)
      let (sender, receiver) = (pair.make(.sender, checks: true), pair.make(.receiver, checks: true))
      for isDamaged in [false, true] {
        let message = try sender.reserve(count)
        for index in 0..<count { message[index] = UInt8(truncatingIfNeeded: index &* 7) }
        if isDamaged { sender.damage = { $0[bit / 8] ^= 1 << UInt8(bit % 8) } }
        try sender.send(count)
        if isDamaged {
          let error = #expect(throws: ChannelError.self) { _ = try receiver.receive() }
          #expect(error.map { "\($0)".contains("have changed on their way") } == true)
        } else {
          #expect(try receiver.receive().enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0 &* 7) })
          try receiver.release()
        }
      }
    }
  }

  @Test(arguments: [false, true]) func anExchangeAllocatesNothing(checks: Bool) throws {
    let pair = try ChannelPair(capacity: 4096)
    let sender = pair.make(.sender, checks: checks)
    let receiver = pair.make(.receiver, checks: checks)
    func exchange() throws {
      for _ in 0..<100 {
        _ = try sender.reserve(4000)
        try sender.send(4000)
        _ = try receiver.receive()
        try receiver.release()
      }
    }
    try exchange()
    let before = allocation_count()
    try exchange()
    #expect(allocation_count() == before)
  }
}
