import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import SwerveAccess
import SwerveCore

/// The same answers without a socket.
struct InProcess: Sendable {
  let client: any TestClientProtocol
  let engine: FakeEngine
  let metrics: EngineMetrics

  static func run(
    _ engine: FakeEngine = FakeEngine(), _ configure: (inout ServerConfiguration) -> Void = { _ in },
    body: @escaping @Sendable (InProcess) async throws -> Void
  ) async throws {
    var configuration = ServerConfiguration.forTests
    configure(&configuration)
    let metrics = EngineMetrics(registry: PrometheusRegistry(), modelName: configuration.modelName)
    let logs = LogLines()
    let server = Server(
      configuration: configuration, engine: engine, metrics: metrics, logger: logs.logger(LogLabel.server),
      accessLogger: logs.logger(LogLabel.access))
    let application = Application(responder: server.responder, logger: logs.logger("test"))
    try await application.test(.router) { client in
      try await body(InProcess(client: client, engine: engine, metrics: metrics))
    }
  }

  struct Answer: Sendable {
    var status: Int
    var headers: HTTPFields
    var body: String

    var json: JSON { get throws { try JSON(parsing: body) } }
    var events: [String] {
      body.split(separator: "\n\n").compactMap { $0.hasPrefix("data: ") ? String($0.dropFirst(6)) : nil }
    }
    /// The error object's field.
    var param: String? { get throws { try json["error"]?["param"]?.string } }
    var message: String { get throws { try json["error"]?["message"]?.string ?? "" } }
  }

  func send(
    _ method: HTTPRequest.Method, _ path: String, _ headers: HTTPFields = [:], body: String? = nil
  ) async throws -> Answer {
    var headers = headers
    if body != nil, headers[.contentType] == nil { headers[.contentType] = "application/json" }
    return try await client.execute(
      uri: path, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) }
    ) { response in
      Answer(status: response.status.code, headers: response.headers, body: String(buffer: response.body))
    }
  }

  func post(_ path: String, _ body: JSON, _ headers: HTTPFields = [:]) async throws -> Answer {
    try await send(.post, path, headers, body: body.text)
  }

  /// A completion with a prompt and the given members.
  func complete(_ members: JSONObject) async throws -> Answer {
    var object: JSONObject = ["prompt": "Hi"]
    for (name, value) in members { object[name] = value }
    return try await post("/v1/completions", .object(object))
  }

  /// A chat of one message with the given members.
  func chat(_ members: JSONObject) async throws -> Answer {
    var object: JSONObject = ["messages": [["role": "user", "content": "Hi"]]]
    for (name, value) in members { object[name] = value }
    return try await post("/v1/chat/completions", .object(object))
  }
}
