internal import CSwervePlatform
internal import Synchronization

/// A control link between hosts: whole messages over a stream, and a beat each way so that a host that vanishes without a
/// word is noticed. A thread of its own reads and beats; it ends with the stream.
///
/// A frame is its length (u32, little-endian) and its bytes; a length of 0 is a beat.
package final class StreamControl: ControlLink {
  /// How often something is sent, and after how many of these without a word the other side is gone.
  package struct Beat: Sendable {
    /// Seconds.
    package var interval: Double
    package var misses: Int

    package init(interval: Double = 0.5, misses: Int = 3) {
      self.interval = interval
      self.misses = misses
    }
  }

  static let capacity = 64 << 10
  private let shared: Shared

  package init(_ socket: StreamSocket, beat: Beat = Beat()) throws(TransferError) {
    let shared = Shared(socket, beat)
    self.shared = shared
    try NetworkThread.start("swerve-control") { shared.run() }
  }

  deinit { shared.socket.end() }

  package var hasEnded: Bool { shared.inbox.withLock { $0.end != nil } }
  package var endReason: String? { shared.inbox.withLock { $0.end } }
  package func close() { shared.socket.end() }

  package func send(_ bytes: [UInt8]) throws(TransferError) {
    guard !bytes.isEmpty, bytes.count <= Self.capacity else {
      throw .malformed("a control message of \(bytes.count) bytes is none")
    }
    guard shared.write(bytes, within: 5) else { throw .closed("the other side of a control link") }
  }

  package func receive(within seconds: Double, from peer: String) throws(TransferError) -> [UInt8]? {
    let end = TransferClock.time(in: seconds)
    while true {
      let count = shared.bell.count
      let (message, ended) = shared.inbox.withLock { inbox in
        (inbox.messages.isEmpty ? nil : inbox.messages.removeFirst(), inbox.end)
      }
      if let message { return message }
      if ended != nil { throw .closed(peer) }
      let now = TransferClock.now
      if now >= end { return nil }
      shared.bell.wait(since: count, nanoseconds: end - now)
    }
  }

  /// What the thread and the link both know.
  private final class Shared: Sendable {
    let socket: StreamSocket
    let beat: Beat
    let bell = Bell()
    let inbox = Mutex(Inbox())
    /// Frames are written whole.
    private let writing = Mutex(())
    /// Messages that nobody takes; more than a handshake ever has.
    private static let mostMessages = 64

    struct Inbox {
      var messages: [[UInt8]] = []
      /// Why nothing more comes.
      var end: String?
    }

    init(_ socket: StreamSocket, _ beat: Beat) {
      self.socket = socket
      self.beat = beat
    }

    /// Whether the frame was written, all of it.
    func write(_ bytes: [UInt8], within seconds: Double) -> Bool {
      writing.withLock { _ in
        let end = TransferClock.time(in: seconds)
        var length = UInt32(bytes.count).littleEndian
        do {
          try withUnsafeBytes(of: &length) { head in
            try bytes.withUnsafeBytes { body in try socket.write(head, body, until: end) }
          }
          return true
        } catch {
          socket.end()
          return false
        }
      }
    }

    func run() {
      let interval = UInt64(beat.interval * 1e9)
      var reader = FrameReader()
      // Beats missed are counted in our own, so that a pause of this process is not taken for one of the other.
      var missed = 0
      var hasHeard = true
      var next = TransferClock.now + interval
      while true {
        do {
          if try socket.hasBytes(until: next) {
            hasHeard = true
            guard let messages = try reader.read(socket) else { return stop("it sent what is no control message") }
            if !deliver(messages) { return stop("it sends more than anybody asked for") }
          }
        } catch {
          return stop("it has ended")
        }
        let now = TransferClock.now
        if now < next { continue }
        missed = hasHeard ? 0 : missed + 1
        hasHeard = false
        if missed >= beat.misses {
          return stop("nothing was heard of it for \(Double(beat.misses) * beat.interval) s")
        }
        if !write([], within: beat.interval) { return stop("nothing can be sent to it") }
        next = now + interval
      }
    }

    private func deliver(_ messages: [[UInt8]]) -> Bool {
      if messages.isEmpty { return true }
      let hasRoom = inbox.withLock { inbox in
        inbox.messages += messages
        return inbox.messages.count <= Self.mostMessages
      }
      bell.ring()
      return hasRoom
    }

    private func stop(_ reason: String) {
      socket.end()
      inbox.withLock { $0.end = $0.end ?? reason }
      bell.ring()
    }
  }
}

/// Takes frames out of a stream that comes in pieces.
struct FrameReader {
  private var bytes: [UInt8] = []
  private var piece = [UInt8](repeating: 0, count: 16 << 10)

  /// Whole messages in what is there now, without beats; nil for what is none.
  mutating func read(_ socket: StreamSocket) throws(StreamSocket.Stop) -> [[UInt8]]? {
    var count = 0
    var stop: StreamSocket.Stop?
    piece.withUnsafeMutableBytes { place in
      do throws(StreamSocket.Stop) { count = try socket.readSome(into: place) } catch { stop = error }
    }
    if let stop { throw stop }
    return take(piece[..<count])
  }

  /// The messages that a further piece completes.
  mutating func take(_ piece: ArraySlice<UInt8>) -> [[UInt8]]? {
    bytes += piece
    var messages: [[UInt8]] = []
    var at = 0
    while bytes.count - at >= 4 {
      let length = (0..<4).reversed().reduce(0) { $0 << 8 | Int(bytes[at + $1]) }
      guard length <= StreamControl.capacity else { return nil }
      guard bytes.count - at - 4 >= length else { break }
      if length > 0 { messages.append(Array(bytes[at + 4..<at + 4 + length])) }
      at += 4 + length
    }
    bytes.removeFirst(at)
    return messages
  }
}
