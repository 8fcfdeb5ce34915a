// Blocks of keys and values between two engines: a stream connection a transfer, frames on it, sealed or on a network
// that is trusted. These files know layers as numbers and blocks as bytes; they must not know whose tokens they are.
// Start with BlockExchange, then BlockLink.

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A stream to another engine, whose failures name who is there. Every wait has a deadline. One thread sends and one
/// receives; anybody may end it.
package final class BlockSocket: Sendable {
  private let stream: StreamSocket
  /// Who is at the other end, for sentences.
  package let peer: String

  init(_ stream: StreamSocket, peer: String) {
    (self.stream, self.peer) = (stream, peer)
  }

  /// One that came in.
  convenience init(accepted stream: StreamSocket) {
    self.init(stream, peer: stream.address.isEmpty ? "a peer" : stream.address)
  }

  /// - Throws: `.timedOut`, or `.system` when nobody is there.
  package static func connect(to endpoint: Endpoint, within seconds: Double) throws(TransferError) -> BlockSocket {
    do {
      return BlockSocket(try StreamSocket.connect(to: endpoint, within: seconds), peer: "\(endpoint)")
    } catch {
      guard case .unreachable(let peer, let code) = error else { throw error }
      if code == ETIMEDOUT { throw .timedOut(peer, seconds: seconds) }
      // A name without an address is, to who reads the log, a host that cannot be reached.
      throw .system("connect to \(peer)", code: error.isUnknownHost ? EHOSTUNREACH : code)
    }
  }

  package func send(_ bytes: UnsafeRawBufferPointer, within seconds: Double) throws(TransferError) {
    do {
      try stream.write(bytes, UnsafeRawBufferPointer(start: nil, count: 0), until: TransferClock.time(in: seconds))
    } catch {
      throw failure(error, seconds)
    }
  }

  /// Fills `bytes` whole.
  package func receive(into bytes: UnsafeMutableRawBufferPointer, within seconds: Double) throws(TransferError) {
    do { try stream.read(into: bytes, until: TransferClock.time(in: seconds)) } catch { throw failure(error, seconds) }
  }

  /// Both directions are over; whoever waits returns.
  package func end() { stream.end() }

  private func failure(_ stop: StreamSocket.Stop, _ seconds: Double) -> TransferError {
    switch stop {
    case .timedOut: .timedOut(peer, seconds: seconds)
    case .closed: .closed(peer)
    }
  }
}
