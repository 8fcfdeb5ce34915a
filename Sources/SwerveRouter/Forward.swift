internal import AsyncHTTPClient
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import NIOHTTP1

/// A client's request on its way to a server.
struct Forward: Sendable {
  let method: String
  /// With the query.
  let path: String
  /// End to end, without what is between two neighbours.
  let headers: [(String, String)]
  let body: ByteBuffer

  init(_ request: Request, body: ByteBuffer) {
    method = request.method.rawValue
    path = request.uri.string
    headers = request.headers.map { ($0.name.rawName, $0.value) }.filter { !Self.isHop($0.0) }
    self.body = body
  }

  func request(to url: String) -> HTTPClientRequest {
    var request = HTTPClientRequest(url: url + path)
    request.method = HTTPMethod(rawValue: method)
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    if body.readableBytes > 0 { request.body = .bytes(body) }
    return request
  }

  /// An answer's headers for the client.
  static func headers(_ given: HTTPHeaders) -> HTTPFields {
    var fields = HTTPFields()
    for (name, value) in given where !isHop(name) {
      if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) }
    }
    return fields
  }

  /// Headers of one connection, and those that follow from the body.
  private static func isHop(_ name: String) -> Bool {
    [
      "host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
      "transfer-encoding", "upgrade", "expect", "content-length", "accept-encoding", "server",
    ].contains(name.lowercased())
  }
}
