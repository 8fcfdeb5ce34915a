internal import CSwervePlatform

/// Whole messages between a worker and who started it: the handshake and the end. Nothing of a step goes here. A process
/// that dies closes its end, so this is also how the other side learns of it.
package final class ControlSocket: PeerWatch {
  private let descriptor: Descriptor
  /// Messages are this long at most.
  static let capacity = 64 << 10

  package init(_ descriptor: Descriptor) { self.descriptor = descriptor }

  /// Two ends.
  package static func pair() throws(TransferError) -> (ControlSocket, ControlSocket) {
    var ends: [Int32] = [0, 0]
    let code = swerve_socket_pair(&ends)
    guard code == 0 else { throw .system("connect two workers", code: code) }
    return (ControlSocket(Descriptor(ends[0])), ControlSocket(Descriptor(ends[1])))
  }

  package var number: Int32 { descriptor.number }

  package var hasEnded: Bool { swerve_socket_ended(descriptor.number) }

  package func send(_ bytes: [UInt8]) throws(TransferError) {
    let code = bytes.withUnsafeBytes { swerve_socket_send(descriptor.number, $0.baseAddress, $0.count) }
    guard code == 0 else { throw .system("send \(bytes.count) bytes to a worker", code: code) }
  }

  /// The next message; nil when none comes within so many seconds.
  ///
  /// - Throws: `.closed` when none will come.
  package func receive(within seconds: Double, from peer: String) throws(TransferError) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: Self.capacity)
    let milliseconds = Int32(clamping: Int(max(seconds, 0) * 1000))
    let count = bytes.withUnsafeMutableBytes {
      swerve_socket_receive(descriptor.number, $0.baseAddress, $0.count, milliseconds)
    }
    if count == -Self.again { return nil }
    if count == 0 || count == -Self.reset { throw .closed(peer) }
    guard count > 0 else { throw .system("read from \(peer)", code: -count) }
    bytes.removeLast(bytes.count - Int(count))
    return bytes
  }

  private static let again: Int32 = 11
  private static let reset: Int32 = 104
}
