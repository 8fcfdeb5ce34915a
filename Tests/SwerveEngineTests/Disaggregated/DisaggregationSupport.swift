import Foundation
import SwerveCore
import SwerveEngine
import SwerveTransfer
import Synchronization
import Testing

extension EngineConfiguration {
  /// Hands blocks over on this machine, on a free port.
  mutating func hand(_ role: KVTransferConfiguration.Role, _ change: (inout KVTransferConfiguration) -> Void = { _ in })
  {
    var transfer = KVTransferConfiguration(role: role)
    transfer.port = 0
    transfer.version = testVersion
    transfer.bufferBytes = 64 << 20
    transfer.silenceSeconds = 20
    change(&transfer)
    kvTransfer = transfer
  }
}

/// How a prompt comes to the consumer.
enum Way: String, CaseIterable, Sendable { case push, pull }

extension Engine {
  /// Where blocks can be sent.
  var door: (host: String, port: Int) {
    let description = transferDescription
    return (description?["kv_ip"]?.string ?? "", description?["kv_port"]?.int ?? 0)
  }

  var transfers: TransferStatistics { statistics.transfer ?? TransferStatistics() }

  /// What a producer sent is counted when it hears that it came, which may be after the answer it was for: waits for it.
  func settles(_ holds: @Sendable (TransferStatistics) -> Bool) async throws -> Bool {
    try await waits { $0.transfer.map(holds) ?? false }
  }
}

/// `kv_transfer_params` as the access layer reads them.
func transferParams(_ object: JSONObject) -> KVTransferParams {
  var params = KVTransferParams()
  params.isForRemoteDecode = object["do_remote_decode"]?.bool ?? false
  params.isRemotePrefilled = object["do_remote_prefill"]?.bool ?? false
  params.transferID = object["transfer_id"]?.string
  params.host = object["remote_host"]?.string
  params.port = object["remote_port"]?.int
  params.isPushed = object["pushed"]?.bool ?? false
  params.given = object
  return params
}

/// Has the producer compute a request's prompt. Answers what the consumer is to be told.
func prefill(
  _ request: GenerationRequest, at producer: Engine, for consumer: (host: String, port: Int)?
) async throws -> JSONObject {
  var prompt = request
  prompt.params.maxTokens = 1
  prompt.params.n = 1
  prompt.params.logprobs = nil
  var params = KVTransferParams()
  params.isForRemoteDecode = true
  params.transferID = BlockTransferID.random().description
  params.host = consumer?.host
  params.port = consumer?.port
  prompt.kvTransfer = params
  var answer: JSONObject?
  for try await event in try await producer.generate(prompt) {
    if case .started(let info) = event { answer = info.kvTransfer }
  }
  return try #require(answer)
}

/// A request through both engines.
func disaggregated(
  _ request: GenerationRequest, _ producer: Engine, _ consumer: Engine, _ way: Way = .push,
  door: (host: String, port: Int)? = nil
) async throws -> Answer {
  let params = try await prefill(request, at: producer, for: way == .push ? door ?? consumer.door : nil)
  var decode = request
  decode.kvTransfer = transferParams(params)
  if way == .pull, let door {
    decode.kvTransfer?.host = door.host
    decode.kvTransfer?.port = door.port
  }
  return try await consumer.answer(decode)
}

/// Requests whose prompts have several blocks each.
func handoverRequests(_ count: Int) -> [GenerationRequest] {
  (0..<count).map { index in
    // A block at least, and one that no other request begins with.
    let text =
      "This is number \(index) of the stories that were told to the little owl in the old tree. "
      + String(repeating: InvarianceTests.prompts[index % 4] + " ", count: 2 + index % 5)
    return textRequest(text, id: "handed-\(index)") { params in
      params.temperature = index % 3 == 0 ? 0 : 0.9
      params.seed = index
      params.topP = index % 2 == 0 ? 1 : 0.9
      params.logprobs = 2
      params.n = index % 5 == 2 ? 2 : 1
      if params.n > 1 { params.temperature = 1 }
      params.maxTokens = 8 + index % 9
      params.ignoreEos = true
    }
  }
}

/// A connection in the middle that does something to what the producer says, frame by frame.
final class Relay: Sendable {
  enum Fault: Sendable {
    /// Flips a bit of the payload of so many-th layer.
    case flip(Int)
    /// Ends the connection in the middle of it.
    case cut(Int)
    /// Raises its generation by one, as a message of an older reservation would have another.
    case stale(Int)
    /// Milliseconds before each.
    case delay(Int)
    /// Says nothing more, and keeps the connection.
    case silence(Int)
  }

  let port: Int
  private let listener: Int32
  private let passed = Mutex(0)

  /// Layers that went through untouched.
  var layers: Int { passed.withLock { $0 } }

  /// `isPulled`: it is the consumer who connects, and the producer's words go the other way.
  init(to target: Int, _ fault: Fault, isPulled: Bool = false) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.listener = listener
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &size) == 0
      }
    }
    #expect(bound)
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread.detachNewThread { [self] in
      while true {
        let incoming = accept(listener, nil, nil)
        if incoming < 0 { return }
        let outgoing = Self.connect(target)
        let (producer, consumer) = isPulled ? (outgoing, incoming) : (incoming, outgoing)
        Thread.detachNewThread { Self.pump(consumer, producer) }
        Thread.detachNewThread { [self] in relay(producer, consumer, fault) }
      }
    }
  }

  func close() {
    shutdown(listener, Int32(SHUT_RDWR))
    Glibc.close(listener)
  }

  private static func connect(_ port: Int) -> Int32 {
    let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    address.sin_port = UInt16(port).bigEndian
    _ = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(file, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return file
  }

  /// Copies until one side ends.
  private static func pump(_ from: Int32, _ to: Int32) {
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = recv(from, &bytes, bytes.count, 0)
      if count <= 0 || !write(to, bytes[..<count]) { break }
    }
    shutdown(to, Int32(SHUT_RDWR))
  }

  private static func write(_ file: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
    Array(bytes).withUnsafeBytes { buffer in
      var at = 0
      while at < buffer.count {
        let sent = send(file, buffer.baseAddress! + at, buffer.count - at, Int32(MSG_NOSIGNAL))
        if sent <= 0 { return false }
        at += sent
      }
      return true
    }
  }

  private static func read(_ file: Int32, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var at = 0
    while at < count {
      let got = bytes.withUnsafeMutableBytes { recv(file, $0.baseAddress! + at, count - at, 0) }
      if got <= 0 { return nil }
      at += got
    }
    return bytes
  }

  /// Passes whole frames of an open link on.
  private func relay(_ from: Int32, _ to: Int32, _ fault: Fault) {
    defer {
      shutdown(to, Int32(SHUT_RDWR))
      shutdown(from, Int32(SHUT_RDWR))
    }
    var layers = 0
    while var header = Self.read(from, BlockFrame.byteCount) {
      guard let frame = try? header.withUnsafeBytes({ try BlockFrame($0, from: "a test") }) else { return }
      var payload: [UInt8] = []
      if frame.payloadBytes > 0 {
        guard let bytes = Self.read(from, Int(frame.payloadBytes)) else { return }
        payload = bytes
      }
      if frame.kind == .layer {
        switch fault {
        case .flip(layers): payload[payload.count / 2] ^= 4
        case .cut(layers):
          _ = Self.write(to, header[...])
          _ = Self.write(to, payload[..<(payload.count / 2)])
          return
        case .stale(layers):
          var old = frame
          old.generation &+= 1
          header.withUnsafeMutableBytes { old.write(to: $0) }
        case .delay(let milliseconds): usleep(UInt32(milliseconds) * 1000)
        case .silence(layers):
          _ = Self.read(from, .max >> 40)
          return
        default: break
        }
        layers += 1
        passed.withLock { $0 += 1 }
      }
      if !Self.write(to, header[...]) || !Self.write(to, payload[...]) { return }
    }
  }
}
