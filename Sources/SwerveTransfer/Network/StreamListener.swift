internal import CSwervePlatform

/// Where streams come in. One thread accepts.
final class StreamListener: Sendable {
  private let descriptor: Descriptor
  /// Where it listens, with the port that the system chose where any would do.
  let endpoint: Endpoint

  /// - Throws: `.refused` for an address that is not this host's, `.system` for one that cannot be had.
  init(_ endpoint: Endpoint) throws(TransferError) {
    let code = swerve_stream_listen(endpoint.host, try endpoint.checkedPort)
    guard code >= 0 else {
      throw -code == Int32(SWERVE_NO_SUCH_HOST)
        ? .refused("there is no address \(endpoint.host) on this host; give one of its own, or 0.0.0.0")
        : .system("listen at \(endpoint)", code: -code)
    }
    descriptor = Descriptor(code)
    self.endpoint = Endpoint(host: endpoint.host, port: max(Int(swerve_stream_port(code)), 0))
  }

  /// The next one; nil when none came in time.
  func accept(within seconds: Double) -> StreamSocket? {
    let code = swerve_stream_accept(descriptor.number, StreamSocket.milliseconds(seconds))
    if code >= 0 { return StreamSocket(Descriptor(code)) }
    // Out of descriptors or memory: somebody has to go first.
    if -code != Self.again { swerve_nap(100_000) }
    return nil
  }

  private static let again: Int32 = 11
}
