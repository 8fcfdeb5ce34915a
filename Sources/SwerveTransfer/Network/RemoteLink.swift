internal import CSwervePlatform

/// A connected, known and keyed link from a parameter worker to a data worker of another host: a control link, and the
/// stream of its data channel.
package struct RemoteLink: Sendable {
  package let control: StreamControl
  package let socket: StreamSocket
  package let key: LinkKey?
  /// The data worker's identity; nil on a trusted network.
  package let peer: PeerIdentity?

  /// Connects, and tries again while nobody listens. Blocks until a link is there, it is refused, or the time is over.
  ///
  /// - Throws: one sentence that names the endpoint.
  package static func connect(
    to endpoint: Endpoint, _ protection: LinkProtection, version: String, group: UInt64, worker: UInt32, epoch: UInt32,
    within seconds: Double, beat: StreamControl.Beat = .init()
  ) throws(TransferError) -> RemoteLink {
    if let problem = protection.problem(with: endpoint) { throw .refused(problem) }
    let end = TransferClock.time(in: seconds)
    var last = TransferError.timedOut("the data worker at \(endpoint)", seconds: seconds)
    func left() -> Double { Double(end - min(end, TransferClock.now)) * 1e-9 }
    while left() > 0 {
      do {
        let offer = LinkOffer(
          version: version, group: group, worker: worker, epoch: epoch,
          key: protection.encryption == .aesGCM ? LinkKey() : nil)
        return try open(offer, endpoint, protection, within: left(), beat)
      } catch {
        guard case .unreachable = error, !error.isUnknownHost else { throw error }
        last = error
      }
      swerve_nap(200_000)
    }
    throw last
  }

  private static func open(
    _ offer: LinkOffer, _ endpoint: Endpoint, _ protection: LinkProtection, within seconds: Double,
    _ beat: StreamControl.Beat
  ) throws(TransferError) -> RemoteLink {
    let name = "the data worker at \(endpoint)"
    let plain = try StreamSocket.connect(to: endpoint, within: seconds)
    try greet(plain, LinkPreamble(.control, isProtected: protection.security != nil), name, within: seconds)
    var secured: SecuredSocket?
    if let security = protection.security {
      let result = try security.secure(plain, as: .connecting, peer: name, within: seconds)
      try protection.check(result.peer, is: .data)
      secured = result
    }
    let control = try StreamControl(secured?.socket ?? plain, beat: beat)
    do throws(TransferError) {
      try control.send(ControlMessage.open(offer).bytes)
      guard let bytes = try control.receive(within: seconds, from: name) else {
        throw TransferError.timedOut(name, seconds: seconds)
      }
      switch try ControlMessage(bytes, from: .data) {
      case .opened: break
      case .refused(let reason): throw TransferError.refused("\(name) refuses the link: \(reason)")
      case .greet, .stop, .open, .ready: throw TransferError.malformed("\(name) speaks out of turn")
      }
    } catch {
      if case .closed = error {
        throw .refused("\(name) ended the link" + (secured?.whyEnded().map { ": \($0)" } ?? "; look at its log"))
      }
      throw error
    }
    let data = try StreamSocket.connect(to: endpoint, within: seconds)
    try write(LinkPreamble(.data, isProtected: protection.security != nil, link: offer.link), to: data, name, seconds)
    return RemoteLink(control: control, socket: data, key: LinkKey(offer.key), peer: secured?.peer)
  }

  private static func write(
    _ preamble: LinkPreamble, to socket: StreamSocket, _ name: String, _ seconds: Double
  ) throws(TransferError) {
    let end = TransferClock.time(in: seconds)
    let bytes = preamble.bytes
    var isWritten = false
    bytes.withUnsafeBytes { bytes in
      do throws(StreamSocket.Stop) {
        try socket.write(bytes, UnsafeRawBufferPointer(start: nil, count: 0), until: end)
        isWritten = true
      } catch {
        isWritten = false
      }
    }
    if !isWritten { throw .closed(name) }
  }

  /// Says what is wanted and hears whether the other side does it that way.
  private static func greet(
    _ socket: StreamSocket, _ preamble: LinkPreamble, _ name: String, within seconds: Double
  ) throws(TransferError) {
    try write(preamble, to: socket, name, seconds)
    let end = TransferClock.time(in: seconds)
    var byte: UInt8 = 0
    var stop: StreamSocket.Stop?
    withUnsafeMutableBytes(of: &byte) { place in
      do throws(StreamSocket.Stop) { try socket.read(into: place, until: end) } catch { stop = error }
    }
    if let stop {
      if case .timedOut = stop { throw .timedOut(name, seconds: seconds) }
      throw .refused("\(name) ended the connection at once; look at its log, or whether it is a swerve data-worker")
    }
    switch LinkPreamble.Reply(rawValue: byte) {
    case .goOn: return
    case .wantsTLS:
      throw .refused("\(name) wants certificates; give --tls-certificate, --tls-key and --tls-ca here too")
    case .hasNoTLS:
      throw .refused("\(name) has no certificates; start it with --tls-certificate, --tls-key and --tls-ca too")
    case .otherProtocol, nil:
      throw .refused("\(name) is no data worker of this program's protocol; start both from the same program")
    }
  }
}
