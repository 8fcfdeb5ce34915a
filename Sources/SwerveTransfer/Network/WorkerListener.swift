internal import CSwervePlatform
internal import Synchronization

/// Where a data worker waits for its parameter worker: one address for control links and data channels. It has one link
/// at a time. Whoever is not known, or not what it has to be, costs a thread for a few seconds and nothing else.
package final class WorkerListener: Sendable {
  /// A link that was asked for, allowed and completed.
  package struct Link: Sendable {
    package let offer: LinkOffer
    package let control: StreamControl
    package let socket: StreamSocket
    package let key: LinkKey?
    /// Who it is, in words.
    package let peer: String
  }

  private let listener: StreamListener
  private let protection: LinkProtection
  private let version: String
  private let onNotice: @Sendable (String) -> Void
  private let onRefusal: @Sendable (String) -> Void
  private let state = Mutex(State())
  /// Where it listens, with the port that the system chose where any would do.
  package var endpoint: Endpoint { listener.endpoint }

  /// Seconds for all that happens before a link is there.
  private static let patience = 5.0
  /// Connections that are not links yet.
  private static let mostStrangers = 32

  private struct State {
    var strangers = 0
    /// Allowed, and waiting for their data channels.
    var awaited: [LinkID: Awaited] = [:]
    /// The link that is being served; its end is what another one waits for.
    var served: (offer: LinkOffer, control: StreamControl, socket: StreamSocket)?
    var isClosed = false
  }

  private struct Awaited {
    let offer: LinkOffer
    let control: StreamControl
    let peer: String
    let until: UInt64
  }

  /// - Parameters:
  ///   - version: of this program: links of another one are refused.
  ///   - onNotice: hears of links that come and go.
  ///   - onRefusal: hears, in one sentence, who was refused and why.
  package init(
    _ endpoint: Endpoint, _ protection: LinkProtection, version: String,
    onNotice: @escaping @Sendable (String) -> Void, onRefusal: @escaping @Sendable (String) -> Void
  ) throws(TransferError) {
    if let problem = protection.problem(with: endpoint) { throw .refused(problem) }
    listener = try StreamListener(endpoint)
    (self.protection, self.version, self.onNotice, self.onRefusal) = (protection, version, onNotice, onRefusal)
  }

  /// Ends the link there is and takes no other; `run` returns.
  package func close() {
    state.withLock { state in
      state.isClosed = true
      state.served?.control.close()
      state.served?.socket.end()
    }
  }

  /// Accepts until it is closed. `serve` has each link, on a thread of its own, until it returns.
  package func run(_ serve: @escaping @Sendable (Link) -> Void) {
    while !state.withLock({ $0.isClosed }) {
      forgetTheLate()
      guard let socket = listener.accept(within: 0.25) else { continue }
      let hasRoom = state.withLock { state in
        if state.strangers >= Self.mostStrangers { return false }
        state.strangers += 1
        return true
      }
      guard hasRoom else { continue }
      do {
        try NetworkThread.start("swerve-link") { [self] in meet(socket, serve) }
      } catch {
        leave()
        onRefusal("\(error)")
      }
    }
  }

  private func leave() { state.withLock { $0.strangers -= 1 } }

  private func forgetTheLate() {
    let now = TransferClock.now
    state.withLock { state in state.awaited = state.awaited.filter { $0.value.until > now } }
  }

  // MARK: Strangers

  private func meet(_ socket: StreamSocket, _ serve: @Sendable (Link) -> Void) {
    var link: Link?
    do {
      link = try introduce(socket)
    } catch {
      onRefusal("\(socket.address.isEmpty ? "somebody" : socket.address) is refused: \(error)")
    }
    leave()
    guard let link else { return }
    defer { state.withLock { if $0.served?.offer.link == link.offer.link { $0.served = nil } } }
    guard takeOver(link) else { return }
    onNotice("serves \(link.peer) (link \(link.offer.worker), epoch \(link.offer.epoch))")
    serve(link)
    link.control.close()
    link.socket.end()
    onNotice("the link with \(link.peer) has ended; waits for another one")
  }

  /// What a connection is about. A control connection is answered and kept for its data channel, which makes it a link.
  private func introduce(_ socket: StreamSocket) throws(TransferError) -> Link? {
    let end = TransferClock.time(in: Self.patience)
    // Who connects and says nothing looks whether somebody listens: nobody to be told of.
    do { if try !socket.hasBytes(until: end) { return nil } } catch { return nil }
    var bytes = [UInt8](repeating: 0, count: LinkPreamble.byteCount)
    var stop: StreamSocket.Stop?
    bytes.withUnsafeMutableBytes { place in
      do throws(StreamSocket.Stop) { try socket.read(into: place, until: end) } catch { stop = error }
    }
    guard stop == nil, let preamble = LinkPreamble(bytes) else {
      reply(.otherProtocol, socket)
      throw .refused("it is no worker of this program's protocol")
    }
    if preamble.kind == .data {
      guard let name = preamble.link, let awaited = state.withLock({ $0.awaited.removeValue(forKey: name) }) else {
        throw .refused("it has a data channel of a link that nobody was promised")
      }
      return Link(
        offer: awaited.offer, control: awaited.control, socket: socket, key: LinkKey(awaited.offer.key),
        peer: awaited.peer)
    }
    try open(socket, preamble)
    return nil
  }

  private func reply(_ reply: LinkPreamble.Reply, _ socket: StreamSocket) {
    var byte = reply.rawValue
    withUnsafeBytes(of: &byte) { bytes in
      do throws(StreamSocket.Stop) {
        try socket.write(
          bytes, UnsafeRawBufferPointer(start: nil, count: 0), until: TransferClock.time(in: 1))
      } catch {
        // It is gone, which is what was about to happen to it.
        socket.end()
      }
    }
  }

  /// A control connection: its protection, who it is, what it asks for.
  private func open(_ socket: StreamSocket, _ preamble: LinkPreamble) throws(TransferError) {
    guard preamble.isProtected == (protection.security != nil) else {
      reply(protection.security != nil ? .wantsTLS : .hasNoTLS, socket)
      throw .refused(
        protection.security != nil
          ? "it has no certificate; give it --tls-certificate, --tls-key and --tls-ca"
          : "it wants certificates and this worker has none; give --tls-certificate, --tls-key and --tls-ca")
    }
    reply(.goOn, socket)
    var peer = "the parameter worker at \(socket.address)"
    var stream = socket
    var refusal: TransferError?
    if let security = protection.security {
      let secured = try security.secure(socket, as: .listening, peer: socket.address, within: Self.patience)
      stream = secured.socket
      peer = "\(secured.peer) at \(socket.address)"
      do { try protection.check(secured.peer, is: .parameter) } catch { refusal = error }
    }
    let control = try StreamControl(stream)
    // Said inside the protection: the other side may know.
    if let refusal { throw refuse(control, refusal) }
    guard let bytes = try control.receive(within: Self.patience, from: peer) else {
      throw .timedOut(peer, seconds: Self.patience)
    }
    do throws(TransferError) {
      guard case .open(let offer) = try ControlMessage(bytes, from: .parameter) else {
        throw TransferError.malformed("it does not ask for a link first")
      }
      try accept(offer, control, peer)
    } catch {
      throw refuse(control, error)
    }
  }

  private func refuse(_ control: StreamControl, _ error: TransferError) -> TransferError {
    // Where it cannot be told, the log has it.
    do { try control.send(ControlMessage.refused("\(error)").bytes) } catch { return error }
    // Sent bytes reach the other side before the end does.
    swerve_nap(50_000)
    return error
  }

  private func accept(_ offer: LinkOffer, _ control: StreamControl, _ peer: String) throws(TransferError) {
    guard offer.version == version else {
      throw .refused(
        "\(peer) is version \(offer.version) and this data worker \(version); start both from the same program")
    }
    guard offer.encryption == protection.encryption else {
      throw .refused(
        "\(peer) has --link-encryption \(offer.encryption.rawValue) and this data worker \(protection.encryption.rawValue); "
          + "give both the same")
    }
    let awaited = Awaited(
      offer: offer, control: control, peer: peer, until: TransferClock.time(in: Self.patience))
    let isFree = state.withLock { state in
      if let served = state.served, !served.control.hasEnded, !Self.replaces(offer, served.offer) { return false }
      // An older incarnation of the same link is over, whether it knows or not.
      state.served?.control.close()
      state.served?.socket.end()
      state.awaited[offer.link] = awaited
      return true
    }
    guard isFree else {
      throw .refused("it serves another parameter worker; end that one first, or start another data worker")
    }
    try control.send(ControlMessage.opened.bytes)
  }

  private static func replaces(_ new: LinkOffer, _ old: LinkOffer) -> Bool {
    new.group == old.group && new.worker == old.worker && new.epoch > old.epoch
  }

  /// Waits until the link before has returned its memory. Whether it has.
  private func takeOver(_ link: Link) -> Bool {
    let end = TransferClock.time(in: 30)
    while TransferClock.now < end {
      let isOurs = state.withLock { state in
        if state.isClosed { return false }
        if state.served == nil { state.served = (link.offer, link.control, link.socket) }
        return state.served?.offer.link == link.offer.link
      }
      if isOurs { return true }
      if link.control.hasEnded { return false }
      swerve_nap(2_000)
    }
    return false
  }
}
