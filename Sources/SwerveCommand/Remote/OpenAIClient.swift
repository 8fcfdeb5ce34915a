import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
package import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A client of one server. Shut it down after use.
package struct OpenAIClient: Sendable {
  private let client: HTTPClient
  /// `http://host:port`, without `/v1` and slash.
  private let origin: String
  private let headers: [(String, String)]

  /// `url` may end with `/v1`. `apiKey` nil = no header.
  package init(
    url: String, apiKey: String?, headers: [(String, String)] = [], insecure: Bool = false, connections: Int = 64
  ) throws(CommandError) {
    var origin = url
    while origin.hasSuffix("/") { origin.removeLast() }
    if origin.hasSuffix("/v1") { origin.removeLast(3) }
    guard origin.hasPrefix("http://") || origin.hasPrefix("https://") else {
      throw CommandError(.usage, "the server's address must begin with http:// or https://, got \(url).")
    }
    self.origin = origin
    self.headers = headers + (apiKey.map { [("Authorization", "Bearer \($0)")] } ?? [])
    var configuration = HTTPClient.Configuration()
    configuration.timeout.connect = .seconds(10)
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.decompression = .disabled
    if insecure {
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.certificateVerification = .none
      configuration.tlsConfiguration = tls
    }
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  package func shutdown() async throws { try await client.shutdown() }

  /// Names of the models it serves.
  package func models() async throws -> [String] {
    let body = try await json(.GET, "/v1/models", body: nil)
    return (body["data"]?.array ?? []).compactMap { $0["id"]?.string }
  }

  /// The body at a path, as text.
  package func text(_ path: String) async throws -> String {
    let response = try await send(.GET, path, body: nil)
    do {
      return String(buffer: try await response.body.collect(upTo: 64 << 20))
    } catch {
      throw RemoteError.badAnswer("it broke off (\(error))")
    }
  }

  /// The JSON that is answered to a body posted to a path.
  package func post(_ path: String, _ body: JSON) async throws -> JSON { try await json(.POST, path, body: body) }

  func json(_ method: HTTPMethod, _ path: String, body: JSON?) async throws -> JSON {
    let response = try await send(method, path, body: body)
    let buffer = try await response.body.collect(upTo: 256 << 20)
    do { return try JSON(parsing: Array(buffer.readableBytesView)) } catch {
      throw RemoteError.badAnswer("\(error)")
    }
  }

  /// Posts and passes each event's JSON on as it arrives, up to `[DONE]`. An answer that is no stream counts as one
  /// event. Events that carry an `error` end with it.
  package func stream(_ path: String, body: JSON, onEvent: (JSON) throws -> Void) async throws {
    let response = try await send(.POST, path, body: body)
    let type = response.headers.first(name: "Content-Type") ?? ""
    guard type.hasPrefix("text/event-stream") else {
      let buffer = try await response.body.collect(upTo: 256 << 20)
      try onEvent(try Self.event(String(buffer: buffer)))
      return
    }
    var events = ServerSentEvents()
    for try await buffer in response.body {
      for text in try events.append(buffer.readableBytesView) {
        if text == "[DONE]" { return }
        try onEvent(try Self.event(text))
      }
    }
    throw RemoteError.badAnswer("the stream ended before [DONE]")
  }

  /// The system's words: `connection refused`.
  private static func words(_ error: IOError) -> String { String(cString: strerror(error.errnoCode)).lowercased() }

  private static func event(_ text: String) throws -> JSON {
    let json: JSON
    do { json = try JSON(parsing: text) } catch { throw RemoteError.badAnswer("\(error)") }
    if let error = json["error"], !error.isNull {
      throw RemoteError.status(error["code"]?.int ?? 500, message: error["message"]?.string ?? error.text)
    }
    return json
  }

  private func send(_ method: HTTPMethod, _ path: String, body: JSON?) async throws -> HTTPClientResponse {
    var request = HTTPClientRequest(url: origin + path)
    request.method = method
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    if let body {
      request.headers.replaceOrAdd(name: "Content-Type", value: "application/json")
      request.body = .bytes(ByteBuffer(bytes: body.bytes))
    }
    let response: HTTPClientResponse
    do {
      response = try await client.execute(request, deadline: .distantFuture)
    } catch let error as NIOConnectionError {
      guard let first = error.connectionErrors.first?.error else {
        throw RemoteError.unreachable(origin, reason: "the name \(error.host) could not be resolved")
      }
      throw RemoteError.unreachable(origin, reason: (first as? IOError).map(Self.words) ?? "\(first)")
    } catch let error as IOError {
      throw RemoteError.unreachable(origin, reason: Self.words(error))
    } catch let error as HTTPClientError {
      throw RemoteError.unreachable(origin, reason: error.shortDescription.lowercased())
    }
    guard response.status.code == 200 else {
      let buffer = try await response.body.collect(upTo: 1 << 20)
      let text = String(buffer: buffer)
      // Servers that are no OpenAI servers answer with a page; its first line will do.
      let message = (try? JSON(parsing: text))?["error"]?["message"]?.string
      throw RemoteError.status(
        Int(response.status.code), message: message ?? String(text.prefix { !$0.isNewline }.prefix(200)))
    }
    return response
  }
}
