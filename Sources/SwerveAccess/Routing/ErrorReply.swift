import HTTPTypes
import Hummingbird
import NIOCore
import SwerveCore

extension RequestError {
  /// Characters of a message that reach the client.
  static let longestMessage = 1000

  /// The OpenAI error object's inside: `{"message","type","param","code"}`.
  func write(to out: inout [UInt8]) {
    out.raw(#"{"error":{"message":"#)
    out.string(message.count > Self.longestMessage ? String(message.prefix(Self.longestMessage)) : message)
    out.raw(#","type":"#)
    out.string(kind.rawValue)
    out.raw(#","param":"#)
    out.string(orNull: param)
    out.raw(#","code":"#)
    if let code { out.string(code) } else { out.int(status) }
    out.raw("}}")
  }

  /// The error as a response with its status and headers.
  func response() -> Response {
    var out: [UInt8] = []
    write(to: &out)
    var response = Response.json(out, status: HTTPResponse.Status(code: status))
    if kind == .authentication { response.headers[.wwwAuthenticate] = "Bearer" }
    if let seconds = retryAfter ?? (kind == .unavailable || kind == .rateLimit ? 1 : nil) {
      response.headers[.retryAfter] = String(seconds)
    }
    return response
  }

  /// What is not HTTP, or more of it than this server reads. The second has a status no other error has.
  static func connectionError(headersTooLarge: Bool) -> (status: HTTPResponse.Status, body: [UInt8]) {
    var out: [UInt8] = []
    guard headersTooLarge else {
      malformedHTTP.write(to: &out)
      return (.badRequest, out)
    }
    out.raw(#"{"error":{"message":"The request's header section is larger than this server accepts.","#)
    out.raw(#""type":"BadRequestError","param":null,"code":431}}"#)
    return (.requestHeaderFieldsTooLarge, out)
  }

  static let malformedHTTP = badRequest("The request is not valid HTTP/1.1.")
}

extension Response {
  static func json(_ body: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
  }

  static func json(_ value: JSON, status: HTTPResponse.Status = .ok) -> Response { json(value.bytes, status: status) }
}
