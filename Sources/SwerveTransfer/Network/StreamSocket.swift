internal import CSwervePlatform

/// A connected stream of bytes to another worker. One thread reads and one writes, each waiting no longer than it says;
/// any thread may end it.
package final class StreamSocket: Sendable {
  private let descriptor: Descriptor
  /// The other end's address; empty where it has none.
  package let address: String

  /// Takes over an open socket that never waits by itself.
  package init(_ descriptor: Descriptor) {
    self.descriptor = descriptor
    var text = [CChar](repeating: 0, count: 80)
    let isKnown = swerve_stream_peer(descriptor.number, &text, text.count)
    address = isKnown ? String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : ""
  }

  /// Two ends within this process.
  package static func pair() throws(TransferError) -> (StreamSocket, StreamSocket) {
    var ends: [Int32] = [0, 0]
    let code = swerve_stream_pair(&ends)
    guard code == 0 else { throw .system("connect two sockets", code: code) }
    return (StreamSocket(Descriptor(ends[0])), StreamSocket(Descriptor(ends[1])))
  }

  /// - Throws: one sentence that names the endpoint: no such host, nobody listens, no answer in time.
  package static func connect(to endpoint: Endpoint, within seconds: Double) throws(TransferError) -> StreamSocket {
    let code = swerve_stream_connect(endpoint.host, try endpoint.checkedPort, milliseconds(seconds))
    if code >= 0 { return StreamSocket(Descriptor(code)) }
    throw .unreachable("\(endpoint)", code: -code)
  }

  /// The descriptor, for who carries its bytes from here on.
  package var number: Int32 { descriptor.number }

  /// Nothing more either way; whoever waits for it wakes up.
  package func end() { swerve_stream_end(descriptor.number) }

  static func milliseconds(_ seconds: Double) -> Int32 {
    Int32(clamping: Int((max(seconds, 0) * 1000).rounded(.up)))
  }

  // MARK: Bytes

  /// Why bytes do not come or go.
  enum Stop: Error {
    case timedOut, closed
  }

  /// How often somebody who waits asks whether the other side still lives. Seconds.
  private static let slice = 0.05

  /// Fills all of it. Waits until a time (monotonic nanoseconds), or until `watch` says that nobody is left.
  func read(into bytes: UnsafeMutableRawBufferPointer, until end: UInt64, watch: (any PeerWatch)? = nil) throws(Stop) {
    var at = 0
    while at < bytes.count {
      let count = swerve_stream_read(descriptor.number, bytes.baseAddress.map { $0 + at }, bytes.count - at)
      if count > 0 {
        at += Int(count)
      } else if count == -Self.again {
        try wait(forWriting: false, until: end, watch)
      } else {
        throw .closed
      }
    }
  }

  /// What is there, `bytes` at most; 0: nothing. Does not wait.
  func readSome(into bytes: UnsafeMutableRawBufferPointer) throws(Stop) -> Int {
    let count = swerve_stream_read(descriptor.number, bytes.baseAddress, bytes.count)
    if count == -Self.again { return 0 }
    guard count > 0 else { throw .closed }
    return Int(count)
  }

  /// Writes one piece and then another.
  func write(
    _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, until end: UInt64, watch: (any PeerWatch)? = nil
  ) throws(Stop) {
    var (first, second) = (first, second)
    while first.count + second.count > 0 {
      let count = swerve_stream_write(
        descriptor.number, first.baseAddress, first.count, second.baseAddress, second.count)
      if count == -Self.again {
        try wait(forWriting: true, until: end, watch)
      } else if count < 0 {
        throw .closed
      } else {
        let ofFirst = min(Int(count), first.count)
        first = UnsafeRawBufferPointer(rebasing: first[ofFirst...])
        second = UnsafeRawBufferPointer(rebasing: second[(Int(count) - ofFirst)...])
      }
    }
  }

  /// Whether bytes are there before that time.
  func hasBytes(until end: UInt64, watch: (any PeerWatch)? = nil) throws(Stop) -> Bool {
    while true {
      let look = swerve_stream_look(descriptor.number)
      if look > 0 { return true }
      if look < 0 { throw .closed }
      if swerve_monotonic_ns() >= end { return false }
      do { try wait(forWriting: false, until: end, watch) } catch {
        if case .closed = error { throw error }
        return false
      }
    }
  }

  private func wait(forWriting: Bool, until end: UInt64, _ watch: (any PeerWatch)?) throws(Stop) {
    let now = swerve_monotonic_ns()
    guard now < end else { throw .timedOut }
    let seconds = Double(end - now) * 1e-9
    let code = swerve_stream_wait(
      descriptor.number, forWriting, Self.milliseconds(watch == nil ? seconds : min(seconds, Self.slice)))
    if code < 0 { throw .closed }
    if code == 0, let watch, watch.hasEnded { throw .closed }
  }

  private static let again: Int64 = 11
}
