import Dispatch
package import SwerveCore
import Synchronization

/// A channel between two threads of this process: a ring of a few messages in plain memory. Whoever has to wait sleeps, after
/// a short look around where its core is its own.
package final class ThreadChannel: Channel, Sendable {
  private let sender: String
  private let receiver: String
  /// Seconds either side waits; nil = for ever.
  private let sendSeconds: Double?
  private let receiveSeconds: Double?
  private let spins: Bool

  package let capacity: Int
  private let slotBytes: Int
  private let slotCount: Int
  /// [slotCount] of a length and a message. A slot belongs to the sender from the moment `released` says so until it is
  /// counted in `written`, then to the receiver: so no byte is touched by both at once.
  nonisolated(unsafe) private let memory: UnsafeMutableRawPointer

  /// Messages handed over, and given back.
  private let written = Atomic<Int>(0)
  private let released = Atomic<Int>(0)
  private let senderSleeps = Atomic<Bool>(false)
  private let receiverSleeps = Atomic<Bool>(false)
  private let isClosed = Atomic<Bool>(false)
  private let room = DispatchSemaphore(value: 0)
  private let message = DispatchSemaphore(value: 0)

  /// - Parameters:
  ///   - sender, receiver: names for what is said when one does not come.
  ///   - capacity: bytes of the longest message.
  ///   - receiveSeconds: nil where waiting is all the receiver has to do.
  ///   - spins: whether every thread that may wait has a core.
  package init(
    from sender: String, to receiver: String, capacity: Int, messages: Int = 2, sendSeconds: Double?,
    receiveSeconds: Double?, spins: Bool = false
  ) {
    precondition(capacity > 0 && messages > 0, "a channel holds messages")
    self.sender = sender
    self.receiver = receiver
    self.capacity = capacity
    self.sendSeconds = sendSeconds
    self.receiveSeconds = receiveSeconds
    self.spins = spins
    slotBytes = 64 + (capacity + 63) / 64 * 64
    slotCount = messages
    memory = .allocate(byteCount: slotBytes * messages, alignment: 64)
  }

  deinit { memory.deallocate() }

  /// Both sides' waits end, now and later.
  package func close() {
    isClosed.store(true, ordering: .sequentiallyConsistent)
    room.signal()
    message.signal()
  }

  private func slot(_ number: Int) -> UnsafeMutableRawPointer { memory + number % slotCount * slotBytes }

  package func reserve(_ byteCount: Int) throws(ChannelError) -> UnsafeMutableRawBufferPointer {
    guard byteCount <= capacity else {
      throw .tooLong(peer: receiver, byteCount: byteCount, capacity: capacity)
    }
    let next = written.load(ordering: .relaxed)
    try wait(peer: receiver, seconds: sendSeconds, sleeps: senderSleeps, on: room) {
      next - released.load(ordering: .sequentiallyConsistent) < slotCount
    }
    return UnsafeMutableRawBufferPointer(start: slot(next) + 64, count: byteCount)
  }

  package func send(_ byteCount: Int) throws(ChannelError) {
    guard byteCount <= capacity else {
      throw .tooLong(peer: receiver, byteCount: byteCount, capacity: capacity)
    }
    if isClosed.load(ordering: .relaxed) { throw .closed(peer: receiver) }
    let next = written.load(ordering: .relaxed)
    slot(next).storeBytes(of: byteCount, as: Int.self)
    written.store(next + 1, ordering: .sequentiallyConsistent)
    if receiverSleeps.load(ordering: .sequentiallyConsistent) { message.signal() }
  }

  package func receive() throws(ChannelError) -> UnsafeRawBufferPointer {
    let next = released.load(ordering: .relaxed)
    try wait(peer: sender, seconds: receiveSeconds, sleeps: receiverSleeps, on: message) {
      written.load(ordering: .sequentiallyConsistent) > next
    }
    let slot = slot(next)
    return UnsafeRawBufferPointer(start: slot + 64, count: slot.load(as: Int.self))
  }

  package func release() throws(ChannelError) {
    released.store(released.load(ordering: .relaxed) + 1, ordering: .sequentiallyConsistent)
    if senderSleeps.load(ordering: .sequentiallyConsistent) { room.signal() }
  }

  /// Returns when `isReady`. A wake-up may be of an earlier wait; then it looks again.
  private func wait(
    peer: String, seconds: Double?, sleeps: borrowing Atomic<Bool>, on semaphore: DispatchSemaphore,
    isReady: () -> Bool
  ) throws(ChannelError) {
    var looks = spins ? Self.looks : 1
    while looks > 0 {
      if isReady() { return }
      looks -= 1
    }
    let deadline = seconds.map { DispatchTime.now() + $0 } ?? .distantFuture
    sleeps.store(true, ordering: .sequentiallyConsistent)
    defer { sleeps.store(false, ordering: .sequentiallyConsistent) }
    while !isReady() {
      if isClosed.load(ordering: .sequentiallyConsistent) { throw .closed(peer: peer) }
      if semaphore.wait(timeout: deadline) == .timedOut, !isReady() {
        // A side that gave up must not be met in the middle of a message by the other one.
        close()
        throw .timedOut(peer: peer, seconds: seconds ?? 0)
      }
    }
  }

  /// About ten microseconds.
  private static let looks = 2000
}
