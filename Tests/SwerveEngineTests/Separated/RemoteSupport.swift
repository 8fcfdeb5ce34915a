import Foundation
import SwerveCore
import SwerveEngine
import SwerveTransfer
import Synchronization
import Testing

/// Says who it is without proof: what TLS does with certificates, for tests of what is sealed after it.
struct ClaimedIdentity: SocketSecurity {
  let identity: PeerIdentity

  init(_ role: LinkRole) { identity = PeerIdentity(cluster: "c", role: role, name: "n") }

  func secure(
    _ socket: StreamSocket, as side: SocketSide, peer: String, within seconds: Double
  ) throws(TransferError) -> SecuredSocket {
    SecuredSocket(
      socket: socket, peer: PeerIdentity(cluster: "c", role: side == .connecting ? .data : .parameter, name: "n"))
  }
}

extension EngineConfiguration {
  /// Keys and values with workers that wait somewhere.
  mutating func separate(at addresses: [String], local: Int = 0, deadline: Double = 30) {
    separate(addresses.count + local, deadline: deadline)
    dataWorkers.addresses = addresses
  }
}

/// A data worker that listens, on a thread of this process.
final class ListeningWorker: Sendable {
  let service: DataWorkerService

  init(_ protection: LinkProtection = LinkProtection(), version: String = testVersion, kvBytes: Int? = nil) throws {
    let log = Log()
    service = try DataWorkerService(
      Endpoint(host: "127.0.0.1", port: 0), protection, version: version, limits: .init(kvBytes: kvBytes),
      onNotice: { text in log.lines.withLock { $0.append(text) } },
      onRefusal: { text in log.lines.withLock { $0.append("refused: " + text) } })
    self.log = log
    let service = service
    Thread.detachNewThread { service.run() }
  }

  private final class Log: Sendable { let lines = Mutex<[String]>([]) }
  private let log: Log

  var address: String { "\(service.endpoint)" }
  var lines: [String] { log.lines.withLock { $0 } }

  deinit { service.close() }
}

/// The same in a process, which can be killed; it listens at the same port when it is started again.
final class ListeningProcess {
  private var process: Process?
  private(set) var port = 0
  private let path: String

  init() throws {
    guard case .process(let path, _) = try workerProcess() else {
      throw TestFailure(description: "no worker's program")
    }
    self.path = path
    try start()
  }

  var address: String { "127.0.0.1:\(port)" }
  var id: Int32 { process?.processIdentifier ?? 0 }

  func start() throws {
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = [testVersion, "listen", "\(port)"]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    self.process = process
    let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
    guard let port = Int(line.trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw TestFailure(description: "the worker says \(line.debugDescription) where its port was due")
    }
    self.port = port
  }

  func kill() {
    guard let process else { return }
    Glibc.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    self.process = nil
  }

  deinit { kill() }
}

/// What lies between two hosts: carries bytes, late, altered, or not at all.
final class Wire: Sendable {
  struct Fault: Sendable {
    /// Microseconds that each piece waits.
    var delay: ClosedRange<UInt32>?
    /// Data connections are altered by one bit after so many bytes.
    var flipAfter: Int?
    /// Nothing is carried any more, and nobody is told.
    var isCut = false
  }

  private let target: Endpoint
  private let listener: Int32
  let port: Int
  private let state = Mutex(Fault())
  let flips = Mutex(0)

  init(to address: String) throws {
    guard let target = Endpoint(address) else { throw TestFailure(description: address) }
    self.target = target
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_addr.s_addr = inet_addr("127.0.0.1")
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &place) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, length) == 0 && listen(listener, 16) == 0
          && getsockname(listener, address, &length) == 0
      }
    }
    guard isBound else { throw TestFailure(description: "no port for a wire") }
    self.listener = listener
    port = Int(UInt16(bigEndian: place.sin_port))
    Thread.detachNewThread { [self] in accept() }
  }

  var address: String { "127.0.0.1:\(port)" }
  func set(_ fault: Fault) { state.withLock { $0 = fault } }

  private func accept() {
    while true {
      let near = Glibc.accept(listener, nil, nil)
      if near < 0 { return }
      guard let far = try? StreamSocket.connect(to: target, within: 5) else {
        close(near)
        continue
      }
      let number = dup(far.number)
      _ = fcntl(number, F_SETFL, 0)
      var one: Int32 = 1
      setsockopt(near, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
      Thread.detachNewThread { [self] in carry(near, number, isForward: true) }
      Thread.detachNewThread { [self] in carry(number, near, isForward: false) }
    }
  }

  private func carry(_ from: Int32, _ to: Int32, isForward: Bool) {
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    var total = 0
    var isData: Bool?
    while true {
      let count = recv(from, &piece, piece.count, 0)
      if count <= 0 { break }
      if isData == nil, isForward { isData = count > 5 && piece[5] == 2 }
      let fault = state.withLock { $0 }
      if fault.isCut {
        while state.withLock({ $0.isCut }) { usleep(1000) }
        break
      }
      if let delay = fault.delay { usleep(UInt32.random(in: delay)) }
      if let after = fault.flipAfter, isData == true, total + count > after {
        piece[count / 2] ^= 4
        flips.withLock { $0 += 1 }
        state.withLock { $0.flipAfter = nil }
      }
      total += count
      var at = 0
      while at < count {
        let sent = piece[at..<count].withUnsafeBytes {
          send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if sent <= 0 { break }
        at += sent
      }
      if at < count { break }
    }
    shutdown(from, Int32(SHUT_RDWR))
    shutdown(to, Int32(SHUT_RDWR))
  }

  deinit { close(listener) }
}
