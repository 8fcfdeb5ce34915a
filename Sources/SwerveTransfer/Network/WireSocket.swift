// Blocks of keys and values between two engines: a stream connection a transfer, frames on it, sealed or on a network
// that is trusted. This folder knows layers as numbers and blocks as bytes; it must not know whose tokens they are.
// Start with BlockExchange, then BlockLink.

internal import CSwervePlatform

/// A stream connection to another process. Every wait has a deadline. One thread sends and one receives; anybody may end
/// it.
package final class WireSocket: Sendable {
  private let descriptor: Descriptor
  /// Who is at the other end, for sentences.
  package let peer: String

  init(_ number: Int32, peer: String) {
    descriptor = Descriptor(number)
    self.peer = peer
  }

  /// - Throws: `.timedOut`, or `.system` when nobody is there.
  package static func connect(host: String, port: Int, within seconds: Double) throws(TransferError) -> WireSocket {
    let peer = "\(host):\(port)"
    let number = swerve_wire_connect(host, Int32(clamping: port), milliseconds(seconds))
    guard number >= 0 else {
      if -number == timedOut { throw .timedOut(peer, seconds: seconds) }
      throw .system("connect to \(peer)", code: -number)
    }
    return WireSocket(number, peer: peer)
  }

  package func send(_ bytes: UnsafeRawBufferPointer, within seconds: Double) throws(TransferError) {
    let code = swerve_wire_send(descriptor.number, bytes.baseAddress, bytes.count, Self.milliseconds(seconds))
    if code < 0 { throw failure(-code, seconds) }
  }

  /// Fills `bytes` whole.
  package func receive(into bytes: UnsafeMutableRawBufferPointer, within seconds: Double) throws(TransferError) {
    let code = swerve_wire_receive(descriptor.number, bytes.baseAddress, bytes.count, Self.milliseconds(seconds))
    if code < 0 { throw failure(-code, seconds) }
  }

  /// Both directions are over; whoever waits returns.
  package func end() { swerve_wire_end(descriptor.number) }

  private func failure(_ code: Int32, _ seconds: Double) -> TransferError {
    switch code {
    case Self.timedOut: .timedOut(peer, seconds: seconds)
    case Self.reset, Self.pipe: .closed(peer)
    default: .system("talk to \(peer)", code: code)
    }
  }

  static func milliseconds(_ seconds: Double) -> Int32 { Int32(clamping: Int(min(max(seconds, 0), 1e6) * 1000)) }

  /// Whether a host's every address is this machine's own.
  package static func isLoopback(_ host: String) -> Bool { swerve_wire_is_loopback(host) }

  static let timedOut: Int32 = 110
  private static let reset: Int32 = 104
  private static let pipe: Int32 = 32
}

/// Where connections come in.
final class WireListener: Sendable {
  private let descriptor: Descriptor
  let port: Int

  init(host: String, port: Int) throws(TransferError) {
    var bound: Int32 = 0
    let number = swerve_wire_listen(host, Int32(clamping: port), &bound)
    guard number >= 0 else { throw .system("listen on \(host):\(port)", code: -number) }
    descriptor = Descriptor(number)
    self.port = Int(bound)
  }

  /// nil when nobody came in time.
  func accept(within seconds: Double) -> WireSocket? {
    var name = [CChar](repeating: 0, count: 64)
    let number = name.withUnsafeMutableBufferPointer {
      swerve_wire_accept(descriptor.number, WireSocket.milliseconds(seconds), $0.baseAddress, $0.count)
    }
    guard number >= 0 else { return nil }
    let text = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return WireSocket(number, peer: String(decoding: text, as: UTF8.self))
  }
}

/// Runs `body` on a detached thread: it waits for a network.
func startWireThread(_ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(WireThreadBody(body))
  let code = swerve_thread_start("swerve-blocks", 1 << 20, { WireThreadBody.run($0) }, box.toOpaque())
  precondition(code == 0, "the operating system refuses another thread (error \(code))")
}

private final class WireThreadBody: Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }

  static func run(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<WireThreadBody>.fromOpaque(context).takeRetainedValue().body()
  }
}
