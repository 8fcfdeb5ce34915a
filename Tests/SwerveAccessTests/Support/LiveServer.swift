import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import SwerveAccess
import SwerveCore
import Synchronization

/// Collects log lines.
final class LogLines: Sendable {
  private let lines = Mutex<[String]>([])

  var all: [String] { lines.withLock { $0 } }
  func append(_ line: String) { lines.withLock { $0.append(line) } }

  func logger(_ label: String) -> Logger {
    var configuration = LogConfiguration()
    configuration.level = .debug
    let sink = LogSink(configuration) { self.append($0) }
    return Logger(label: label) { sink.handler(label: $0) }
  }
}

/// A server on a free port of this machine, for as long as `body` runs.
struct LiveServer: Sendable {
  let port: Int
  let engine: FakeEngine
  let logs: LogLines
  /// Asks for a graceful shutdown, as SIGTERM does.
  let shutdown: @Sendable () async -> Void

  static func run(
    _ engine: FakeEngine = FakeEngine(), _ configure: (inout ServerConfiguration) -> Void = { _ in },
    body: @escaping @Sendable (LiveServer) async throws -> Void
  ) async throws {
    var configuration = ServerConfiguration.forTests
    configure(&configuration)
    let logs = LogLines()
    let (ports, found) = AsyncStream.makeStream(of: Int.self)
    let server = Server(
      configuration: configuration, engine: engine,
      metrics: EngineMetrics(registry: PrometheusRegistry(), modelName: configuration.modelName),
      logger: logs.logger(LogLabel.server), accessLogger: logs.logger(LogLabel.access),
      onListening: { port in
        found.yield(port ?? 0)
        found.finish()
      })
    let group = ServiceGroup(configuration: .init(services: [server], logger: logs.logger("lifecycle")))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask {
        defer { found.finish() }
        try await group.run()
      }
      var iterator = ports.makeAsyncIterator()
      guard let port = await iterator.next() else {
        try await tasks.waitForAll()
        return
      }
      let live = LiveServer(port: port, engine: engine, logs: logs) { await group.triggerGracefulShutdown() }
      do {
        try await body(live)
      } catch {
        await group.triggerGracefulShutdown()
        throw error
      }
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
  }
}

extension ServerConfiguration {
  static var forTests: ServerConfiguration {
    var configuration = ServerConfiguration()
    configuration.host = "127.0.0.1"
    configuration.port = 0
    configuration.servedModelNames = ["fake", "org/fake-alias"]
    configuration.createdTime = 1_700_000_000
    configuration.fingerprint = "swerve-test"
    configuration.statisticsInterval = 0
    configuration.drainTimeout = 0.2
    // Tests share their threads with many others, and a client may be late with its first byte.
    configuration.keepAliveTimeout = 300
    return configuration
  }
}

/// One TCP connection, byte by byte.
struct RawConnection {

  static func open<Value: Sendable>(
    port: Int, _ body: @Sendable (inout Reader) async throws -> Value
  ) async throws -> Value {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
            wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      var reader = Reader(iterator: inbound.makeAsyncIterator(), outbound: outbound, channel: channel.channel)
      return try await body(&reader)
    }
  }

  struct Reader {
    var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    let channel: any NIOCore.Channel
    private(set) var received = ""

    init(
      iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
      outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>, channel: any NIOCore.Channel
    ) {
      self.iterator = iterator
      self.outbound = outbound
      self.channel = channel
    }

    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

    /// Reads until the text holds `mark` or the server closes; answers everything read so far.
    mutating func read(until mark: String) async throws -> String {
      while !received.contains(mark) {
        guard let buffer = try await iterator.next() else { break }
        received += String(buffer: buffer)
      }
      return received
    }

    mutating func readToEnd() async throws -> String {
      while let buffer = try await iterator.next() { received += String(buffer: buffer) }
      return received
    }

    mutating func forget() { received = "" }
  }
}

/// An HTTP answer read from a connection that was closed after it.
struct RawAnswer: Sendable {
  var status: Int
  /// Names in lower case.
  var headers: [String: String]
  var body: String

  var json: JSON { get throws { try JSON(parsing: body) } }

  /// The `data:` lines of an event stream.
  var events: [String] {
    body.split(separator: "\n\n").compactMap { $0.hasPrefix("data: ") ? String($0.dropFirst(6)) : nil }
  }

  init?(_ text: String) {
    guard let end = text.firstRange(of: "\r\n\r\n") else { return nil }
    let lines = text[..<end.lowerBound].split(separator: "\r\n")
    guard let first = lines.first, let code = Int(first.split(separator: " ").dropFirst().first ?? "") else {
      return nil
    }
    status = code
    headers = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { return nil }
      headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    let rest = String(text[end.upperBound...])
    body = headers["transfer-encoding"] == "chunked" ? Self.unchunked(rest) : rest
  }

  static func unchunked(_ text: String) -> String {
    var bytes = Array(text.utf8)[...]
    var out: [UInt8] = []
    while let line = bytes.firstIndex(of: 13) {
      guard let size = Int(String(decoding: bytes[..<line], as: UTF8.self), radix: 16), size > 0 else { break }
      let start = line + 2
      guard start + size <= bytes.endIndex else {
        out += bytes[start...]
        break
      }
      out += bytes[start..<start + size]
      bytes = bytes[min(start + size + 2, bytes.endIndex)...]
    }
    return String(decoding: out, as: UTF8.self)
  }
}

struct TestFailure: Error, CustomStringConvertible {
  var description: String
}

extension LiveServer {
  static func head(
    _ method: String, _ path: String, _ headers: [String: String] = [:], body: String? = nil, close: Bool = true
  ) -> String {
    var text = "\(method) \(path) HTTP/1.1\r\nHost: test\r\n"
    if let body {
      text += "Content-Length: \(body.utf8.count)\r\n"
      if headers["Content-Type"] == nil { text += "Content-Type: application/json\r\n" }
    }
    for (name, value) in headers.sorted(by: { $0.key < $1.key }) { text += "\(name): \(value)\r\n" }
    if close { text += "Connection: close\r\n" }
    return text + "\r\n" + (body ?? "")
  }

  /// One request on its own connection.
  func send(
    _ method: String, _ path: String, _ headers: [String: String] = [:], body: String? = nil
  ) async throws -> RawAnswer {
    let text = try await RawConnection.open(port: port) { connection in
      try await connection.send(Self.head(method, path, headers, body: body))
      return try await connection.readToEnd()
    }
    guard let answer = RawAnswer(text) else { throw TestFailure(description: "not an HTTP answer: \(text)") }
    return answer
  }

  func post(_ path: String, _ body: JSON, _ headers: [String: String] = [:]) async throws -> RawAnswer {
    try await send("POST", path, headers, body: body.text)
  }
}
