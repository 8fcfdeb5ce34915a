internal import AsyncHTTPClient
internal import HTTPTypes
package import Hummingbird
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import SwerveCore

/// A request's way through the router: key, route; for a prompt, a prefill server and then a decode server, whose answer
/// is passed on as it comes.
package struct RouterResponder: HTTPResponder {
  package typealias Context = BasicRequestContext

  let configuration: RouterConfiguration
  let client: HTTPClient
  let logger: Logger
  let prefill: Upstreams
  let decode: Upstreams
  let metrics = RouterMetrics()

  init(_ configuration: RouterConfiguration, client: HTTPClient, logger: Logger) {
    self.configuration = configuration
    self.client = client
    self.logger = logger
    prefill = Upstreams(configuration.prefill, policy: configuration.policy)
    decode = Upstreams(configuration.decode, policy: configuration.policy)
  }

  package func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
    var response: Response
    do {
      response = try await answer(request)
    } catch let error as RequestError {
      response = Self.refuse(error)
    }
    metrics.count(status: Int(response.status.code))
    if request.method == .head { response = response.createHeadResponse() }
    return response
  }

  private func answer(_ request: Request) async throws -> Response {
    let path = request.uri.path
    switch path {
    case "/health", "/v1/health", "/ping", "/ready": return try await health()
    case "/metrics":
      let text = metrics.text([("prefill", prefill), ("decode", decode)])
      return Response(
        status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    default: break
    }
    guard path.hasPrefix("/v1/") || ["/tokenize", "/detokenize", "/version"].contains(path) else {
      throw RequestError(.notFound, "The router has no route \(String(path.prefix(200))).")
    }
    try authorize(request)
    let body: ByteBuffer
    do {
      body = try await request.body.collect(upTo: configuration.mostBodyBytes)
    } catch {
      throw RequestError(
        .payloadTooLarge, "The request is larger than \(configuration.mostBodyBytes) bytes, or broke off; send less.")
    }
    let forward = Forward(request, body: body)
    guard request.method == .post, Handoff.paths.contains(path),
      let json = try? JSON(parsing: Array(body.readableBytesView)), case .object(let object) = json
    else { return try await passOn(forward) { _ in nil } }
    return try await passOn(forward) { try await whole(object, forward, decode: $0) }
  }

  /// Whoever brings a key has one of ours.
  private func authorize(_ request: Request) throws(RequestError) {
    if configuration.apiKeys.isEmpty { return }
    let given = request.headers[.authorization]?.split(separator: " ").last.map(String.init) ?? ""
    // All are compared, over their whole length.
    var isKnown = false
    for key in configuration.apiKeys {
      let (a, b) = (Array(key.utf8), Array(given.utf8))
      var difference = a.count ^ b.count
      for index in a.indices { difference |= Int(a[index]) ^ Int(b.isEmpty ? 0 : b[index % b.count]) }
      if difference == 0 { isKnown = true }
    }
    if !isKnown {
      throw RequestError(
        .authentication, "A valid API key is required: send it as Authorization: Bearer KEY.", code: "invalid_api_key")
    }
  }

  /// Whether anybody answers.
  private func health() async throws -> Response {
    for index in decode.order() {
      var request = HTTPClientRequest(url: decode.urls[index] + "/health")
      request.method = .GET
      if let response = try? await client.execute(
        request, timeout: .nanoseconds(Int64(configuration.connectSeconds * 1e9))),
        response.status.code == 200
      {
        return Response(status: .ok)
      }
    }
    throw RequestError(
      .unavailable, "No decode server is ready (\(decode.urls.joined(separator: ", "))).", retryAfter: 1)
  }

  // MARK: Decode

  /// Sends a request to decode servers in turn until one answers, and passes its answer on, unbuffered. `change`: what
  /// that server gets in place of the client's body.
  private func passOn(
    _ forward: Forward, change: (Int) async throws -> JSONObject?
  ) async throws -> Response {
    var reasons: [String] = []
    for index in decode.order() {
      let url = decode.urls[index]
      let turn = Turn(decode, index)
      do {
        var request = forward.request(to: url)
        if let body = try await change(index) { request.body = .bytes(ByteBuffer(bytes: JSON.object(body).bytes)) }
        let response = try await client.execute(request, deadline: .distantFuture, logger: nil)
        decode.succeed(index)
        return Response(
          status: .init(code: Int(response.status.code), reasonPhrase: response.status.reasonPhrase),
          headers: Forward.headers(response.headers),
          body: ResponseBody { writer in
            for try await buffer in response.body { try await writer.write(buffer) }
            try await writer.finish(nil)
            withExtendedLifetime(turn) {}
          })
      } catch is CancellationError {
        throw CancellationError()
      } catch {
        decode.fail(index)
        metrics.countUnreachable(url)
        reasons.append("\(url): \(Self.words(error))")
        logger.warning("The decode server \(url) does not answer: \(Self.words(error))")
      }
    }
    throw RequestError(
      .unavailable, "No decode server answers (\(reasons.joined(separator: "; "))); start one, or try again later.",
      code: "decode_unreachable", retryAfter: 2)
  }

  /// The system's words, on one line.
  static func words(_ error: any Error) -> String {
    if let error = error as? NIOConnectionError, let first = error.connectionErrors.first { return words(first.error) }
    return String("\(error)".prefix { !$0.isNewline }.prefix(200))
  }

  static func refuse(_ error: RequestError) -> Response {
    let object: JSON = [
      "error": [
        "message": .string(error.message), "type": .string(error.kind.rawValue),
        "param": error.param.map { .string($0) } ?? .null, "code": error.code.map { .string($0) } ?? .int(error.status),
      ]
    ]
    var headers: HTTPFields = [.contentType: "application/json"]
    if let seconds = error.retryAfter { headers[.retryAfter] = String(seconds) }
    return Response(
      status: .init(code: error.status), headers: headers,
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: object.bytes)))
  }
}
