internal import CSwervePlatform
package import SwerveCore

/// Whether the process or thread at the other end is gone, for those that end without a word.
package protocol PeerWatch: AnyObject, Sendable {
  var hasEnded: Bool { get }
}

/// One direction between two workers over shared memory: each side makes an end of it over the same memory. Messages are
/// written and read in place. Waiting is a short look, where cores are to spare, and then sleep on a futex: a side that
/// waits leaves its core to the one it waits for.
///
/// An end belongs to one thread. The first end of a side that goes away closes the channel for the other.
package final class SharedChannel: Channel {
  package enum End: Sendable { case sender, receiver }

  package struct Settings: Sendable {
    /// The other side's name in errors.
    package var peer: String
    /// The longest wait of a call. Seconds.
    package var deadline: Double
    package var spin: SpinBudget
    /// For two sides that take turns on one core; none: they sleep until they are woken.
    package var turns: TurnBudget
    /// Tells of a peer that ended without closing; nil: only the deadline does.
    package var watch: (any PeerWatch)?
    /// Whether a message's bytes are checked at the other end, over all of them: twice the time of reading them. Both ends
    /// say the same. Without, headers are.
    package var checksContent: Bool

    package init(
      peer: String, deadline: Double, spin: SpinBudget, turns: TurnBudget = TurnBudget(),
      watch: (any PeerWatch)? = nil, checksContent: Bool = false
    ) {
      self.peer = peer
      self.deadline = deadline
      self.spin = spin
      self.turns = turns
      self.watch = watch
      self.checksContent = checksContent
    }
  }

  package let capacity: Int
  package let end: End
  package let peer: String
  /// The longest wait of a call. Seconds; may be changed between calls.
  package var deadline: Double
  /// Bytes of the messages that went through this end.
  package private(set) var byteCount = 0
  /// Time in which this end waited, in all.
  package private(set) var waitedNanoseconds: UInt64 = 0

  private let memory: SharedMemory
  private let ring: Ring
  private var spin: SpinBudget
  /// What was given away, and what came of it.
  package private(set) var turns: TurnBudget
  private let watch: (any PeerWatch)?
  private let checksContent: Bool
  /// For tests: changes a message after its check was made.
  package var damage: ((UnsafeMutableRawBufferPointer) -> Void)?
  /// Where this end is.
  private var position: UInt64 = 0
  /// Messages and skips so far.
  private var number: UInt64 = 0
  /// What is reserved or received: its header's position and its most bytes; nil = nothing.
  private var open: (at: UInt64, byteCount: Int)?
  private var failure: ChannelError?

  /// Bytes of memory for a channel of such messages; a multiple of 64.
  package static func byteCount(capacity: Int) -> Int { Ring.byteCount(capacity: capacity) }

  /// An end over `byteCount(capacity:)` bytes at `offset` (a multiple of 64), zeroed before the first end was made.
  package init(_ memory: SharedMemory, at offset: Int, capacity: Int, end: End, _ settings: Settings) {
    self.memory = memory
    self.capacity = capacity
    self.end = end
    peer = settings.peer
    deadline = settings.deadline
    spin = settings.spin
    turns = settings.turns
    watch = settings.watch
    checksContent = settings.checksContent
    ring = Ring(memory.part(at: offset, Self.byteCount(capacity: capacity)), capacity: capacity)
  }

  deinit { close() }

  /// Tells the other side that nothing more comes.
  package func close() {
    let own = end == .sender ? ring.sender : ring.receiver
    swerve_word_store(own.ended, 1)
    move(own, to: position, waking: end == .sender ? ring.receiver : ring.sender)
  }

  // MARK: Sending

  package func reserve(_ byteCount: Int) throws(ChannelError) -> UnsafeMutableRawBufferPointer {
    precondition(end == .sender && open == nil, "a channel reserves one message at a time, at its sender")
    if let failure { throw failure }
    guard byteCount >= 0 && byteCount <= capacity else {
      throw .tooLong(peer: peer, byteCount: byteCount, capacity: capacity)
    }
    let needed = UInt64(Ring.needed(byteCount))
    let circle = UInt64(ring.circleBytes)
    var at = position
    try wait(for: ring.receiver, own: ring.sender) { () throws(ChannelError) -> Bool in
      let read = swerve_long_load(ring.receiver.position)
      guard read <= position, position - read <= circle, read % UInt64(Ring.line) == 0 else {
        throw malformed("it says that it read what was never written")
      }
      let offset = position % circle
      let isFar = read == position && offset >= needed && offset + needed > UInt64(Ring.hotBytes)
      at = isFar || offset + needed > circle ? position - offset + circle : position
      return at + needed - read <= circle
    }
    if at != position {
      ring.write(Ring.Header(kind: Ring.Header.skip, byteCount: 0, number: number), at: position)
      number += 1
    }
    open = (at, byteCount)
    return UnsafeMutableRawBufferPointer(start: ring.bytes(at: at) + Ring.line, count: byteCount)
  }

  package func send(_ byteCount: Int) throws(ChannelError) {
    guard let reserved = open, byteCount >= 0, byteCount <= reserved.byteCount else {
      preconditionFailure("more is sent than was reserved")
    }
    if let failure { throw failure }
    open = nil
    let content = ring.bytes(at: reserved.at) + Ring.line
    ring.write(
      Ring.Header(
        kind: Ring.Header.message, byteCount: UInt64(byteCount), number: number,
        content: checksContent ? Self.check(content, byteCount) : 0), at: reserved.at)
    damage?(UnsafeMutableRawBufferPointer(start: content, count: byteCount))
    number += 1
    self.byteCount += byteCount
    position = reserved.at + UInt64(Ring.needed(byteCount))
    move(ring.sender, to: position, waking: ring.receiver)
  }

  // MARK: Receiving

  package func receive() throws(ChannelError) -> UnsafeRawBufferPointer {
    precondition(end == .receiver && open == nil, "a channel receives one message at a time, at its receiver")
    if let failure { throw failure }
    while true {
      // Read once: what was checked is what counts.
      var written = position
      try wait(for: ring.sender, own: ring.receiver) { () throws(ChannelError) -> Bool in
        written = try writtenPosition()
        return written != position
      }
      guard let header = ring.header(at: position), header.number == number else {
        throw malformed("a message's header is damaged")
      }
      number += 1
      let circle = UInt64(ring.circleBytes)
      if header.kind == Ring.Header.skip {
        let next = position - position % circle + circle
        guard next <= written else { throw malformed("it skips what was never written") }
        position = next
        move(ring.receiver, to: position, waking: ring.sender)
        continue
      }
      guard header.byteCount <= UInt64(capacity),
        UInt64(Ring.needed(Int(header.byteCount))) <= written - position,
        position % circle + UInt64(Ring.needed(Int(header.byteCount))) <= circle
      else { throw malformed("a message of \(header.byteCount) bytes is cut short, or too long") }
      let count = Int(header.byteCount)
      if checksContent && header.content != Self.check(ring.bytes(at: position) + Ring.line, count) {
        throw malformed("a message's bytes have changed on their way")
      }
      open = (position, count)
      byteCount += count
      return UnsafeRawBufferPointer(start: ring.bytes(at: position) + Ring.line, count: count)
    }
  }

  /// Never 0.
  private static func check(_ bytes: UnsafeRawPointer, _ count: Int) -> UInt64 {
    max(1, swerve_memory_check(bytes, count))
  }

  package func release() throws(ChannelError) {
    guard let received = open else { preconditionFailure("a message is given back that was not received") }
    open = nil
    position = received.at + UInt64(Ring.needed(received.byteCount))
    move(ring.receiver, to: position, waking: ring.sender)
    if let failure { throw failure }
  }

  /// Whether a message is there, or comes within so many seconds; throws only when none will come.
  package func hasMessage(within seconds: Double) throws(ChannelError) -> Bool {
    precondition(end == .receiver && open == nil, "a channel receives one message at a time, at its receiver")
    if let failure { throw failure }
    let usual = (deadline, slice)
    // Somebody idle wakes seldom: a peer that ends wakes it, or closes its socket.
    (deadline, slice) = (seconds, UInt64(max(seconds, 0) * 1e9))
    defer { (deadline, slice) = usual }
    do {
      try wait(for: ring.sender, own: ring.receiver) { () throws(ChannelError) -> Bool in
        try writtenPosition() != position
      }
      return true
    } catch {
      guard case .timedOut = error else { throw error }
      failure = nil
      return false
    }
  }

  /// How far the sender is; at least as far as this end.
  private func writtenPosition() throws(ChannelError) -> UInt64 {
    let written = swerve_long_load(ring.sender.position)
    guard written >= position, written - position <= UInt64(ring.circleBytes), written % UInt64(Ring.line) == 0 else {
      throw malformed("it says that it wrote more than there is room for")
    }
    return written
  }

  // MARK: Waiting

  private func malformed(_ reason: String) -> ChannelError {
    let error = ChannelError.malformed(peer: peer, reason: reason)
    failure = error
    return error
  }

  /// Tells how far this side is, and wakes the other one where it sleeps.
  private func move(_ own: Ring.Side, to position: UInt64, waking other: Ring.Side) {
    swerve_long_store(own.position, position)
    if turns.isOn { swerve_long_store(own.moved, swerve_monotonic_ns()) }
    // In this order, and the other side's the other way round: one of both sees what the other did.
    swerve_word_store(own.bell, swerve_word_load(own.bell) &+ 1)
    if swerve_word_load(other.sleeps) != 0 { swerve_word_wake(own.bell) }
  }

  /// Returns when `isReady`, which is asked again whenever the other side moves.
  private func wait(
    for other: Ring.Side, own: Ring.Side, until isReady: () throws(ChannelError) -> Bool
  ) throws(ChannelError) {
    if try isReady() { return }
    let begin = swerve_monotonic_ns()
    let end = begin + UInt64(max(deadline, 0) * 1e9)
    defer {
      let waited = swerve_monotonic_ns() - begin
      waitedNanoseconds += waited
      spin.record(nanoseconds: waited)
      turns.record(waited: waited)
    }
    let before = swerve_word_load(other.bell)
    if try isReady() { return }
    if swerve_word_spin(other.bell, before, spin.budget(now: begin)), try isReady() { return }
    let turn = turns.budget(now: begin)
    if turn > 0 {
      if swerve_word_yield(other.bell, before, turn), try isReady() {
        turns.noticed(at: swerve_monotonic_ns(), moved: swerve_long_load(other.moved))
        return
      }
      turns.failed(at: swerve_monotonic_ns())
    }
    while true {
      let seen = swerve_word_load(other.bell)
      if try isReady() { return }
      if swerve_word_load(other.ended) != 0 {
        // What it wrote before it ended still counts.
        if try isReady() { return }
        throw fail(.closed(peer: peer))
      }
      let now = swerve_monotonic_ns()
      guard now < end else { throw fail(.timedOut(peer: peer, seconds: deadline)) }
      swerve_word_store(own.sleeps, 1)
      let isWoken =
        swerve_word_load(other.bell) != seen
        || swerve_word_sleep(other.bell, seen, min(end - now, slice))
      swerve_word_store(own.sleeps, 0)
      if !isWoken, let watch, watch.hasEnded {
        if try isReady() { return }
        throw fail(.closed(peer: peer))
      }
    }
  }

  private func fail(_ error: ChannelError) -> ChannelError {
    failure = error
    return error
  }

  /// How often somebody who sleeps looks whether the other side still lives. Nanoseconds.
  private var slice: UInt64 = 20_000_000
}
