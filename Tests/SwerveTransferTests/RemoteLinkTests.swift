import Foundation
import SwerveCore
import SwerveTransfer
import Synchronization
import Testing

/// Says who it is without proof: what TLS does with certificates, for tests of everything else.
struct ClaimedIdentity: SocketSecurity {
  var identity: PeerIdentity

  init(_ role: LinkRole, cluster: String = "c1") { identity = PeerIdentity(cluster: cluster, role: role, name: "n") }

  func secure(
    _ socket: StreamSocket, as side: SocketSide, peer: String, within seconds: Double
  ) throws(TransferError) -> SecuredSocket {
    let claim = Array(identity.uri.utf8)
    put(socket, [UInt8(claim.count)] + claim)
    var bytes: [UInt8] = []
    let end = Date().addingTimeInterval(seconds)
    while bytes.isEmpty || bytes.count <= Int(bytes[0]) {
      if Date() > end { throw .timedOut(peer, seconds: seconds) }
      var byte: UInt8 = 0
      if recv(socket.number, &byte, 1, Int32(MSG_DONTWAIT)) == 1 { bytes.append(byte) } else { usleep(200) }
    }
    guard let peer = PeerIdentity(uri: String(decoding: bytes.dropFirst(), as: UTF8.self)) else {
      throw .refused("no identity")
    }
    return SecuredSocket(socket: socket, peer: peer)
  }
}

@Suite struct RemoteLinkTests {
  /// A listener whose links stay until somebody ends them.
  final class Host: Sendable {
    let listener: WorkerListener
    let refusals = Mutex<[String]>([])
    let notices = Mutex<[String]>([])
    let served = Mutex<[LinkOffer]>([])

    private final class Box: Sendable { let host = Mutex<Host?>(nil) }

    init(_ protection: LinkProtection, version: String = "1") throws {
      let box = Box()
      listener = try WorkerListener(
        Endpoint(host: "127.0.0.1", port: 0), protection, version: version,
        onNotice: { text in box.host.withLock { $0 }?.notices.withLock { $0.append(text) } },
        onRefusal: { text in box.host.withLock { $0 }?.refusals.withLock { $0.append(text) } })
      box.host.withLock { $0 = self }
      let listener = listener
      _ = Worker {
        listener.run { link in
          box.host.withLock { $0 }?.served.withLock { $0.append(link.offer) }
          while !link.control.hasEnded { usleep(500) }
        }
        box.host.withLock { $0 = nil }
      }
    }

    deinit { listener.close() }

    func refusal(_ count: Int = 1) -> String? {
      for _ in 0..<2000 {
        if let text = refusals.withLock({ $0.count >= count ? $0[count - 1] : nil }) { return text }
        usleep(1000)
      }
      return nil
    }
  }

  func connect(
    _ host: Host, _ protection: LinkProtection, version: String = "1", group: UInt64 = 1, epoch: UInt32 = 1,
    seconds: Double = 5
  ) throws -> RemoteLink {
    try RemoteLink.connect(
      to: host.listener.endpoint, protection, version: version, group: group, worker: 0, epoch: epoch, within: seconds)
  }

  func message(_ body: () throws -> RemoteLink) -> String {
    do {
      _ = try body()
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  @Test func aLinkIsMadeOnALoopbackWithoutAnything() throws {
    let host = try Host(LinkProtection())
    let link = try connect(host, LinkProtection())
    #expect(link.key == nil && link.peer == nil && !link.control.hasEnded)
    for _ in 0..<2000 where host.served.withLock({ $0.isEmpty }) { usleep(1000) }
    #expect(host.served.withLock { $0.map(\.epoch) } == [1])
    #expect(host.refusals.withLock { $0.isEmpty })
    host.listener.close()
    for _ in 0..<3000 where !link.control.hasEnded { usleep(1000) }
    #expect(link.control.hasEnded)
  }

  @Test func withIdentitiesALinkIsSealed() throws {
    let host = try Host(LinkProtection(security: ClaimedIdentity(.data)))
    let link = try connect(host, LinkProtection(security: ClaimedIdentity(.parameter)))
    #expect(link.key != nil && link.peer?.role == .data)
    host.listener.close()
  }

  @Test(arguments: [LinkRole.data, .router, .client]) func onlyAParameterWorkerIsListenedTo(role: LinkRole) throws {
    let host = try Host(LinkProtection(security: ClaimedIdentity(.data)))
    let sentence = message { try connect(host, LinkProtection(security: ClaimedIdentity(role))) }
    #expect(sentence.contains("may not be a parameter worker") && !sentence.contains("\n"), "\(sentence)")
    #expect(host.refusal()?.contains("\(role.rawValue) worker n of cluster c1 may not be a parameter worker") == true)
    #expect(host.served.withLock { $0.isEmpty })
    host.listener.close()
  }

  @Test func anotherClusterAnotherRoleOfTheWorkerAndNoIdentityAreRefused() throws {
    let host = try Host(LinkProtection(security: ClaimedIdentity(.data)))
    let sentence = message { try connect(host, LinkProtection(security: ClaimedIdentity(.parameter, cluster: "c2"))) }
    #expect(sentence.contains("is not of cluster"), "\(sentence)")
    #expect(
      message { try connect(host, LinkProtection()) }.contains("wants certificates"))
    #expect(host.refusal(2)?.contains("has no certificate") == true)
    let plain = try Host(LinkProtection())
    #expect(
      message { try connect(plain, LinkProtection(security: ClaimedIdentity(.parameter))) }.contains(
        "has no certificates"))
    let impostor = try Host(LinkProtection(security: ClaimedIdentity(.parameter)))
    #expect(
      message { try connect(impostor, LinkProtection(security: ClaimedIdentity(.parameter))) }
        .contains("may not be a data worker"))
    for other in [host, plain, impostor] {
      #expect(other.served.withLock { $0.isEmpty })
      other.listener.close()
    }
  }

  @Test func anotherVersionOrEncryptionIsRefused() throws {
    let host = try Host(LinkProtection(security: ClaimedIdentity(.data)))
    let security = ClaimedIdentity(.parameter)
    #expect(message { try connect(host, LinkProtection(security: security), version: "2") }.contains("is version 2"))
    #expect(
      message { try connect(host, LinkProtection(security: security, encryption: LinkEncryption.none)) }
        .contains("--link-encryption none"))
    #expect(host.refusal(2) != nil && host.served.withLock { $0.isEmpty })
    host.listener.close()
  }

  @Test func oneLinkAtATimeAndANewerEpochTakesItOver() throws {
    let host = try Host(LinkProtection())
    let first = try connect(host, LinkProtection())
    for _ in 0..<2000 where host.served.withLock({ $0.isEmpty }) { usleep(1000) }
    #expect(message { try connect(host, LinkProtection(), group: 2) }.contains("serves another parameter worker"))
    #expect(message { try connect(host, LinkProtection()) }.contains("serves another parameter worker"))
    let second = try connect(host, LinkProtection(), epoch: 2)
    for _ in 0..<3000 where host.served.withLock({ $0.count }) < 2 { usleep(1000) }
    #expect(host.served.withLock { $0.map(\.epoch) } == [1, 2])
    #expect(first.control.hasEnded && !second.control.hasEnded)
    host.listener.close()
  }

  @Test func whoIsNotThereIsNamedWithinTheDeadline() throws {
    let host = try Host(LinkProtection())
    let endpoint = host.listener.endpoint
    host.listener.close()
    func attempt(_ endpoint: Endpoint, trusts: Bool = true) -> String {
      message {
        try RemoteLink.connect(
          to: endpoint, LinkProtection(trustsNetwork: trusts), version: "1", group: 1, worker: 0, epoch: 1, within: 0.3)
      }
    }
    usleep(400_000)
    let refused = attempt(Endpoint(host: "127.0.0.1", port: 1))
    #expect(refused.contains("nobody listens at 127.0.0.1:1"), "\(refused)")
    #expect(attempt(Endpoint(host: "no-such-host.invalid", port: 1)).contains("no host for no-such-host.invalid:1"))
    #expect(attempt(Endpoint(host: "192.0.2.7", port: 9)).contains("192.0.2.7:9"))
    #expect(attempt(Endpoint(host: "192.0.2.7", port: 9), trusts: false).contains("--trusted-network"))
    withExtendedLifetime(endpoint) {}
  }

  @Test func strangersCostNothing() throws {
    let host = try Host(LinkProtection(security: ClaimedIdentity(.data)))
    let endpoint = host.listener.endpoint
    var random = SystemRandomNumberGenerator()
    for round in 0..<20 {
      let socket = try StreamSocket.connect(to: endpoint, within: 1)
      // Noise, a data channel nobody was promised, silence.
      switch round % 3 {
      case 0: put(socket, (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) })
      case 1: put(socket, Array("SWRV".utf8) + [1, 2, 1, 0] + [UInt8](repeating: UInt8(round), count: 16))
      default: break
      }
      socket.end()
    }
    // Who only looks whether somebody listens is nobody to tell of.
    #expect(host.refusal(14) != nil)
    #expect(host.served.withLock { $0.isEmpty })
    let link = try connect(host, LinkProtection(security: ClaimedIdentity(.parameter)))
    #expect(!link.control.hasEnded)
    host.listener.close()
  }

  // MARK: Control

  @Test func aSilentHostIsNoticedAndABeatingOneIsNot() throws {
    let beat = StreamControl.Beat(interval: 0.05, misses: 3)
    let (near, far) = try StreamSocket.pair()
    let control = try StreamControl(near, beat: beat)
    let other = try StreamControl(far, beat: beat)
    try control.send([1, 2, 3])
    #expect(try other.receive(within: 5, from: "p") == [1, 2, 3])
    #expect(try other.receive(within: 0.5, from: "p") == nil)
    #expect(!control.hasEnded && !other.hasEnded)
    let (alone, _silent) = try StreamSocket.pair()
    let waiting = try StreamControl(alone, beat: beat)
    #expect(throws: TransferError.closed("d0")) { try waiting.receive(within: 30, from: "d0") }
    #expect(waiting.endReason?.contains("nothing was heard of it") == true)
    withExtendedLifetime((control, _silent)) {}
  }

  @Test func framesOfAnyKindDoNoHarm() throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      let (near, far) = try StreamSocket.pair()
      let control = try StreamControl(near)
      put(far, (0..<Int.random(in: 1...300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
      far.end()
      while !control.hasEnded { usleep(100) }
    }
    // Decoders of what a link begins with.
    let offer = LinkOffer(version: "1", group: 1, worker: 0, epoch: 1, key: LinkKey())
    let bytes = ControlMessage.open(offer).bytes
    #expect(try ControlMessage(bytes, from: .parameter) == .open(offer))
    #expect(throws: TransferError.self) { try ControlMessage(bytes, from: .data) }
    for bit in 0..<(8 * bytes.count) {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: TransferError.self) { try ControlMessage(damaged, from: .parameter) }
    }
    for length in bytes.indices {
      #expect(throws: TransferError.self) { try ControlMessage(Array(bytes.prefix(length)), from: .parameter) }
    }
  }

  @Test func endpointsAndIdentitiesAreReadOrRefused() {
    #expect(Endpoint("10.0.0.2:8500") == Endpoint(host: "10.0.0.2", port: 8500))
    #expect(Endpoint("[fd00::2]:8500")?.host == "fd00::2")
    #expect(Endpoint("[fd00::2]:8500").map { "\($0)" } == "[fd00::2]:8500")
    for bad in ["", "host", "host:", ":1", "host:70000", "host:-1", "a b:1", "fd00::2:1", "[]:1", "http://a:1"] {
      #expect(Endpoint(bad) == nil, "\(bad)")
    }
    #expect(Endpoint("localhost:1")?.isLoopback == true && Endpoint("192.0.2.1:1")?.isLoopback == false)
    let identity = PeerIdentity(cluster: "c", role: .data, name: "d-0.example")
    #expect(PeerIdentity(uri: identity.uri) == identity)
    for bad in [
      "", "spiffe://swerve/c/data", "spiffe://swerve/c/king/n", "spiffe://other/c/data/n", "spiffe://swerve//data/n",
      "spiffe://swerve/c/data/n/x", "spiffe://swerve/c/data/a b",
    ] { #expect(PeerIdentity(uri: bad) == nil, "\(bad)") }
  }
}
