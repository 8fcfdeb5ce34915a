import Foundation
import SwerveCore
import SwerveEngine
import SwerveLinks
import SwerveTransfer
import Synchronization
import Testing

/// A cluster's certificates in a folder of their own, removed with it.
final class Certificates {
  let folder: String
  let authority: Authority

  @inline(never)
  init(cluster: String = "test") throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "swerve-certs-\(UUID().uuidString)").path
    authority = try Authority.make(in: folder, cluster: cluster, days: 10, force: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  // Not inlined: the compiler does not get through them as parts of asynchronous functions.
  @inline(never)
  func files(_ role: LinkRole, name: String = "n", days: Double = 1) throws -> TLSSecurity.Files {
    let file = "\(role.rawValue)-\(UUID().uuidString.prefix(8))"
    let issued = try authority.issue(role, name: name, file: file, hosts: [], days: days, force: false)
    return .init(certificate: issued.certificate, key: issued.key, authority: "\(folder)/ca.pem")
  }

  @inline(never)
  func security(_ role: LinkRole, days: Double = 1) throws -> TLSSecurity {
    try TLSSecurity(try files(role, days: days), role: role)
  }
}

/// Hears what a listener says.
final class Log: Sendable {
  private let lines = Mutex<[String]>([])
  func add(_ line: String) { lines.withLock { $0.append(line) } }
  var all: [String] { lines.withLock { $0 } }

  func wait(for word: String) -> Bool { wait { $0.contains { $0.contains(word) } } }

  func wait(until count: Int) -> Bool { wait { $0.count >= count } }

  private func wait(_ isMet: ([String]) -> Bool) -> Bool {
    for _ in 0..<4000 {
      if isMet(all) { return true }
      usleep(1000)
    }
    return false
  }
}

@Suite(.serialized) struct LinkSecurityTests {
  /// A listener on a thread; what it serves stays until the other side goes.
  func listen(_ protection: LinkProtection, served: Log, refused: Log) throws -> WorkerListener {
    let listener = try WorkerListener(
      Endpoint(host: "127.0.0.1", port: 0), protection, version: "1", onNotice: { _ in },
      onRefusal: { refused.add($0) })
    Thread.detachNewThread {
      listener.run { link in
        served.add(link.peer)
        while !link.control.hasEnded { usleep(500) }
      }
    }
    return listener
  }

  func connect(
    _ listener: WorkerListener, _ protection: LinkProtection, epoch: UInt32 = 1
  ) -> Result<RemoteLink, TransferError> {
    Result { () throws(TransferError) in
      try RemoteLink.connect(
        to: listener.endpoint, protection, version: "1", group: 1, worker: 0, epoch: epoch, within: 5)
    }
  }

  /// Certificates are renewed while both sides run: links of before stay, new ones show the new names.
  @Test func renewedCertificatesAreShownOnNewLinks() throws {
    let certificates = try Certificates()
    let (served, refused, notices) = (Log(), Log(), Log())
    let parameter = try certificates.files(.parameter, name: "first")
    let data = try certificates.files(.data)
    let listener = try listen(
      LinkProtection(security: try ReloadedSecurity(data, role: .data, onNotice: { notices.add($0) })),
      served: served, refused: refused)
    defer { listener.close() }
    let own = LinkProtection(security: try ReloadedSecurity(parameter, role: .parameter, onNotice: { notices.add($0) }))
    let before = connect(listener, own)
    guard case .success(let link) = before else {
      Issue.record("\(sentence(before))")
      return
    }
    #expect(served.wait(until: 1) && notices.all.isEmpty)
    #expect(served.all[0].contains("first"), "\(served.all)")

    // One file after the other: the certificate without its key changes nothing.
    let renewed = try certificates.files(.parameter, name: "second")
    func replace(_ path: String, by other: String) throws {
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.moveItem(atPath: other, toPath: path)
    }
    try replace(parameter.certificate, by: renewed.certificate)
    guard case .success(let between) = connect(listener, own, epoch: 2) else {
      Issue.record("a link between two files")
      return
    }
    #expect(notices.all.count == 1 && notices.all[0].contains("go on with"), "\(notices.all)")
    #expect(served.wait(until: 2) && served.all[1].contains("first"), "\(served.all)")
    try replace(parameter.key, by: renewed.key)
    guard case .success(let after) = connect(listener, own, epoch: 3) else {
      Issue.record("no link with the new certificate")
      return
    }
    #expect(served.wait(until: 3) && served.all[2].contains("second"), "\(served.all)")
    #expect(notices.all.last?.contains("was read again") == true, "\(notices.all)")
    for link in [link, between, after] { link.control.close() }

    // Another cluster's certificate is not taken, nor is one that has the wrong role.
    let other = try Certificates(cluster: "other")
    let stranger = try other.files(.parameter)
    try replace(parameter.authority, by: stranger.authority)
    try replace(parameter.certificate, by: stranger.certificate)
    try replace(parameter.key, by: stranger.key)
    guard case .success(let last) = connect(listener, own, epoch: 4) else {
      Issue.record("no link with the certificate of before")
      return
    }
    // The other side, which has the same file for its authority, says what that means for it, sooner or later.
    #expect(notices.wait(for: "is of cluster other now"), "\(notices.all)")
    last.control.close()
  }

  private func sentence(_ result: Result<RemoteLink, TransferError>) -> String {
    switch result {
    case .success: "no error"
    case .failure(let error): "\(error)"
    }
  }

  @Test func bothSidesKnowEachOtherAndTheLinkIsSealed() throws {
    let certificates = try Certificates()
    let (served, refused) = (Log(), Log())
    let listener = try listen(
      LinkProtection(security: try certificates.security(.data)), served: served, refused: refused)
    defer { listener.close() }
    let link = try connect(listener, LinkProtection(security: try certificates.security(.parameter))).get()
    #expect(link.peer == PeerIdentity(cluster: "test", role: .data, name: "n") && link.key != nil)
    #expect(served.wait(for: "parameter worker n of cluster test"))
    // Messages go through the tunnel both ways, and so does the end.
    try link.control.send(ControlMessage.stop.bytes)
    link.control.close()
    for _ in 0..<4000 where !link.control.hasEnded { usleep(1000) }
    #expect(link.control.hasEnded && refused.all.isEmpty)
  }

  @Test func whoeverIsNotAParameterWorkerIsRefused() throws {
    let (certificates, others) = (try Certificates(), try Certificates())
    let (served, refused) = (Log(), Log())
    let listener = try listen(
      LinkProtection(security: try certificates.security(.data)), served: served, refused: refused)
    defer { listener.close() }

    let none = sentence(connect(listener, LinkProtection()))
    #expect(none.contains("wants certificates"), "\(none)")
    #expect(refused.wait(for: "has no certificate"))

    for role in [LinkRole.data, .router, .client] {
      let wrong = sentence(connect(listener, LinkProtection(security: try certificates.security(role))))
      #expect(wrong.contains("\(role.rawValue) worker n of cluster test may not be a parameter worker"), "\(wrong)")
      #expect(refused.wait(for: "\(role.rawValue) worker n of cluster test may not be a parameter worker"))
    }

    let known = refused.all.count
    let other = sentence(connect(listener, LinkProtection(security: try others.security(.parameter))))
    #expect(other.contains("another authority") || other.contains("authority of this certificate"), "\(other)")
    // Why, the listener hears only where the other side's last word came before its end.
    #expect(refused.wait(until: known + 1), "\(refused.all)")

    #expect(served.all.isEmpty)
    #expect(!(refused.all + [none, other]).contains { $0.contains("\n") })
    // Everyone else is served as before.
    _ = try connect(listener, LinkProtection(security: try certificates.security(.parameter))).get()
    #expect(served.wait(for: "parameter worker"))
  }

  @Test func anExpiredCertificateIsRefusedByBothItsOwnerAndTheOtherSide() async throws {
    let certificates = try Certificates()
    // Valid from an hour ago to some seconds from now.
    let files = try certificates.files(.parameter, days: 6.0 / 86_400)
    let security = try TLSSecurity(files, role: .parameter)
    try await Task.sleep(for: .seconds(7.2))
    try refuseExpired(certificates, files, security)
  }

  @inline(never)
  private func refuseExpired(_ certificates: Certificates, _ files: TLSSecurity.Files, _ security: TLSSecurity) throws {
    let (served, refused) = (Log(), Log())
    let listener = try listen(
      LinkProtection(security: try certificates.security(.data)), served: served, refused: refused)
    defer { listener.close() }
    let late = sentence(connect(listener, LinkProtection(security: security)))
    #expect(late.contains("has expired"), "\(late)")
    #expect(refused.wait(for: "has expired"))
    #expect(served.all.isEmpty)
    #expect { _ = try TLSSecurity(files, role: .parameter) } throws: { "\($0)".contains("has expired") }
  }

  @Test func aServerThatIsNoDataWorkerIsNotTold() throws {
    let certificates = try Certificates()
    let (served, refused) = (Log(), Log())
    let listener = try listen(
      LinkProtection(security: try certificates.security(.router)), served: served, refused: refused)
    defer { listener.close() }
    let wrong = sentence(connect(listener, LinkProtection(security: try certificates.security(.parameter))))
    #expect(wrong.contains("may not be a data worker"), "\(wrong)")
    let others = try Certificates(cluster: "other")
    let foreign = try listen(LinkProtection(security: try others.security(.data)), served: served, refused: refused)
    defer { foreign.close() }
    let unknown = sentence(connect(foreign, LinkProtection(security: try certificates.security(.parameter))))
    #expect(unknown.contains("another authority"), "\(unknown)")
    #expect(served.all.isEmpty)
  }

  @Test func noiseInPlaceOfAHandshakeIsRefused() throws {
    let certificates = try Certificates()
    let (served, refused) = (Log(), Log())
    let listener = try listen(
      LinkProtection(security: try certificates.security(.data)), served: served, refused: refused)
    defer { listener.close() }
    for _ in 0..<5 {
      let socket = try StreamSocket.connect(to: listener.endpoint, within: 1)
      let bytes =
        Array("SWRV".utf8) + [1, 1, 1, 0] + [UInt8](repeating: 0, count: 16) + [UInt8](repeating: 77, count: 200)
      _ = bytes.withUnsafeBytes { send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      usleep(20_000)
      socket.end()
    }
    #expect(refused.wait(for: "cannot be secured"))
    _ = try connect(listener, LinkProtection(security: try certificates.security(.parameter))).get()
    #expect(served.wait(for: "parameter worker"))
  }

  // MARK: Files

  @Test func filesThatDoNotFitAreNamed() throws {
    let (certificates, others) = (try Certificates(), try Certificates())
    let data = try certificates.files(.data)
    let other = try others.files(.data)
    func problem(_ files: TLSSecurity.Files, _ role: LinkRole = .data) -> String {
      do throws(LinkFileError) {
        _ = try TLSSecurity(files, role: role)
        return "no error"
      } catch {
        return "\(error)"
      }
    }
    #expect(problem(data) == "no error")
    #expect(problem(data, .parameter).contains("swerve certs issue --role parameter"))
    #expect(
      problem(.init(certificate: data.certificate, key: other.key, authority: data.authority)).contains(
        "is not the key"))
    #expect(
      problem(.init(certificate: data.certificate, key: data.key, authority: other.authority)).contains(
        "was not issued by"))
    #expect(
      problem(.init(certificate: "/nowhere", key: data.key, authority: data.authority)).contains(
        "/nowhere cannot be read"))
    #expect(
      problem(.init(certificate: data.key, key: data.key, authority: data.authority)).contains("is no certificate"))
    #expect(
      problem(.init(certificate: data.authority, key: data.key, authority: data.authority)).contains("names no worker"))
  }

  @Test func keysAreForTheirOwnerAndNothingIsReplacedUnasked() throws {
    let certificates = try Certificates()
    let key = "\(certificates.folder)/ca.key"
    func mode(_ file: String) throws -> Int {
      try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int ?? 0
    }
    #expect(try mode(key) == 0o600)
    let issued = try certificates.authority.issue(
      .data, name: "d0", file: "d0", hosts: ["10.0.0.2", "host"], days: 1, force: false)
    #expect(try mode(issued.key) == 0o600)
    let before = try String(contentsOfFile: key, encoding: .utf8)
    #expect(throws: LinkFileError.self) {
      try Authority.make(in: certificates.folder, cluster: "test", days: 1, force: false)
    }
    #expect(throws: LinkFileError.self) {
      try certificates.authority.issue(.data, name: "d0", file: "d0", hosts: [], days: 1, force: false)
    }
    #expect(try String(contentsOfFile: key, encoding: .utf8) == before)
    _ = try certificates.authority.issue(.data, name: "d0", file: "d0", hosts: [], days: 1, force: true)
    _ = try Authority.make(in: certificates.folder, cluster: "test", days: 1, force: true)
    #expect(try String(contentsOfFile: key, encoding: .utf8) != before)
    for name in ["", "a b", "a/b", String(repeating: "x", count: 65)] {
      #expect(throws: LinkFileError.self) {
        try certificates.authority.issue(.data, name: name, file: "x", hosts: [], days: 1, force: false)
      }
    }
  }

  @Test func whatACertificateSaysIsShown() throws {
    let certificates = try Certificates()
    let again = try Authority(in: certificates.folder)
    #expect(again.cluster == "test")
    let issued = try again.issue(
      .data, name: "d7", file: "d7", hosts: ["10.0.0.2", "data.example"], days: 3, force: false)
    let shown = try LinkCertificate(file: issued.certificate)
    #expect(shown.identity == PeerIdentity(cluster: "test", role: .data, name: "d7"))
    #expect(shown.names == ["URI:spiffe://swerve/test/data/d7", "IP:10.0.0.2", "DNS:data.example"])
    let lines = shown.lines(at: .now)
    #expect(lines.contains("role: data") && lines.contains("name: d7") && !lines.contains { $0.hasPrefix("problem") })
    #expect(shown.lines(at: .now + 4 * 86_400).contains { $0.hasPrefix("problem: has expired") })
    #expect(shown.fingerprint.count == 64)
    #expect(try LinkCertificate(file: "\(certificates.folder)/ca.pem").isAuthority)
  }

  // MARK: An engine

  @Test func anEngineWithAWorkerBehindTLSGivesTheSameTokens() async throws {
    let certificates = try Certificates()
    var configuration = EngineConfiguration()
    configuration.kvCacheBytes = 16 << 20
    configuration.maxSequences = 8
    configuration.maxModelLength = 512
    func answers(_ engine: Engine) async throws -> [[TokenID]] {
      var all: [[TokenID]] = []
      for index in 0..<4 {
        var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 0.9, maxTokens: 24)
        params.seed = index
        params.ignoreEos = true
        let stream = try await engine.generate(
          GenerationRequest(id: "r\(index)", prompt: .text("Once upon a time there was"), params: params))
        var tokens: [TokenID] = []
        for try await event in stream { if case .delta(let delta) = event { tokens += delta.tokens } }
        all.append(tokens)
      }
      return all
    }
    let unified = try await Engine.start(configuration)
    let alone = try await answers(unified)
    await unified.stop()
    #expect(alone.allSatisfy { $0.count == 24 })

    let service = try DataWorkerService(
      Endpoint(host: "127.0.0.1", port: 0), LinkProtection(security: try certificates.security(.data)), version: "v",
      onNotice: { _ in }, onRefusal: { _ in })
    Thread.detachNewThread { service.run() }
    defer { service.close() }
    configuration.placement = .separated
    configuration.dataWorkers.version = "v"
    configuration.dataWorkers.addresses = ["\(service.endpoint)"]
    let engine = try await Engine.start(
      configuration, links: LinkProtection(security: try certificates.security(.parameter)))
    #expect(try await answers(engine) == alone)
    await engine.stop()
    let worker = try #require(engine.statistics.data.workers.first)
    #expect(worker.sentBytes > 0 && worker.exchanges > 0 && engine.statistics.data.recoveries.isEmpty)

    // One with a certificate of another role starts nothing.
    let wrong = LinkProtection(security: try certificates.security(.client))
    do {
      _ = try await Engine.start(configuration, links: wrong)
      Issue.record("a client was a parameter worker")
    } catch {
      #expect("\(error)".contains("may not be a parameter worker"))
    }
  }
}
