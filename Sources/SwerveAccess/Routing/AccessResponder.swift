import HTTPTypes
package import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
import SwerveCore

/// What hummingbird hands to the responder beside the request: the connection.
package struct AccessContext: InitializableFromSource {
  let channel: any NIOCore.Channel

  package init(source: ApplicationRequestContextSource) { channel = source.channel }
}

/// A request's way through the access layer: root path, preflight, authentication, route, handler, error object,
/// headers that every answer carries, record.
package struct AccessResponder: HTTPResponder {
  package typealias Context = AccessContext

  private let state: ServerState
  private let routes: Routes
  private let crossOrigin: CrossOrigin

  init(state: ServerState) {
    self.state = state
    routes = Routes(state.configuration)
    crossOrigin = CrossOrigin(state.configuration)
  }

  @Sendable package func respond(to request: Request, context: AccessContext) async throws -> Response {
    let path = strippedPath(request)
    let record = RequestRecord(
      method: request.method.rawValue, path: path, remote: Self.name(of: context.channel.remoteAddress), server: state)
    let requestID = Self.requestID(request)
    var response: Response
    do {
      response = try await answer(request, path: path, id: requestID, context: context, record: record)
    } catch {
      response = reply(to: error, path: path, id: requestID)
    }
    crossOrigin.decorate(&response, for: request.headers)
    if state.configuration.addsRequestIDHeader { response.headers[.xRequestID] = requestID }
    if request.method == .head { response = response.createHeadResponse() }
    if !record.isStreaming {
      record.finish(
        status: response.status.code, reason: response.status.reasonPhrase,
        responseBytes: response.body.contentLength ?? 0)
    }
    return response
  }

  private func answer(
    _ request: Request, path: String, id: String, context: AccessContext, record: RequestRecord
  ) async throws -> Response {
    if let preflight = crossOrigin.preflight(request) { return preflight }
    let match = routes.match(request.method, path)
    var caller = Caller()
    // OPTIONS is never authenticated; a path that does not exist is protected like one that does.
    if request.method != .options {
      let access: RouteAccess = if case .route(let route, _) = match { route.access } else { .inference }
      caller = try state.authenticator.authorize(request.headers, for: access)
    }
    switch match {
    case .nothing:
      throw RequestError(.notFound, "There is no route \(request.method.rawValue) \(String(path.prefix(200))).")
    case .otherMethods(let methods):
      let names = methods.map(\.rawValue).joined(separator: ", ")
      let error = RequestError(
        .methodNotAllowed, "\(request.method.rawValue) is not allowed here; use \(names).")
      var response = error.response()
      response.headers[.allow] = names
      return response
    case .route(let route, let rest):
      record.note(handler: route.path)
      let exchange = Exchange(
        state: state, request: request, rest: rest, requestID: id, caller: caller,
        watch: state.connections.watch(of: context.channel),
        record: record)
      return try await route.handler(exchange)
    }
  }

  /// Any error becomes the error object; what is not a request's fault leaves its cause in the log only.
  private func reply(to error: any Error, path: String, id: String) -> Response {
    switch error {
    case let error as RequestError: return refuse(error, id: id)
    case RunFailure.refused(let error):
      if error.kind == .unavailable { state.metrics.rejections(reason: "engine").increment() }
      return refuse(error, id: id)
    case RunFailure.disconnected, is CancellationError:
      state.logger.info("Aborted request \(id): status=499, the client closed its connection")
      // Nobody reads this; the status is for the log.
      return Response(status: HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request"))
    case is HTTPParserError: return refuse(.malformedHTTP, id: id)
    default:
      state.logger.error("Answering \(LogText.escaped(path)) failed: \(error)")
      return RequestError.internalFault.response()
    }
  }

  /// The log names the field but never quotes the message: it may repeat what the client sent.
  private func refuse(_ error: RequestError, id: String) -> Response {
    let field = error.param.map { ", param=\(LogText.escaped($0))" } ?? ""
    state.logger.info("Rejected request \(id): status=\(error.status), type=\(error.kind.rawValue)\(field)")
    return error.response()
  }

  private func strippedPath(_ request: Request) -> String {
    let path = request.uri.path
    var root = state.configuration.rootPath
    while root.hasSuffix("/") { root.removeLast() }
    guard !root.isEmpty, path == root || path.hasPrefix(root + "/") else { return path }
    let rest = String(path.dropFirst(root.count))
    return rest.isEmpty ? "/" : rest
  }

  private static func requestID(_ request: Request) -> String {
    if let id = request.headers[.xRequestID], RequestIdentifier.isUsable(id) { return id }
    return RequestIdentifier.fresh()
  }

  private static func name(of address: SocketAddress?) -> String {
    guard let address else { return "-" }
    guard let ip = address.ipAddress, let port = address.port else { return "unix" }
    return "\(ip):\(port)"
  }
}
