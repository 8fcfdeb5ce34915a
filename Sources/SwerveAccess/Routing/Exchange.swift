import HTTPTypes
import Hummingbird
import NIOCore
import SwerveCore

/// One request on its way through a handler.
struct Exchange: Sendable {
  let state: ServerState
  let request: Request
  /// What follows a prefix route's path; empty for exact routes.
  let rest: String
  /// The client's `X-Request-Id`, or a fresh id.
  let requestID: String
  /// Who asks.
  let caller: Caller
  /// nil where there is no connection (in-process tests).
  let watch: ConnectionWatch?
  let record: RequestRecord

  var configuration: ServerConfiguration { state.configuration }
  var engine: any EngineClient { state.engine }

  /// The body as JSON. 400 for another media type or malformed text, 413 over the limit.
  func json() async throws -> JSON {
    let mediaType = request.headers[.contentType]?.prefix { $0 != ";" }
    guard let mediaType, String(mediaType).trimmingSpaces().lowercased() == "application/json" else {
      throw RequestError.badRequest("Unsupported Media Type: Only 'application/json' is allowed")
    }
    let most = configuration.maxRequestBodyBytes
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > most {
      throw RequestError.bodyTooLarge(most)
    }
    let buffer: ByteBuffer
    do {
      buffer = try await request.body.collect(upTo: most)
    } catch is NIOTooManyBytesError {
      throw RequestError.bodyTooLarge(most)
    }
    record.note(requestBytes: buffer.readableBytes)
    return try buffer.withUnsafeReadableBytes { bytes in
      do throws(JSONError) {
        return try JSON(parsing: bytes)
      } catch {
        throw RequestError.badRequest("The request body is \(error).")
      }
    }
  }

  /// Lets a run end with its connection, with its deadline and with the server, and counts it as in flight.
  func attach(_ run: GenerationRun, options: RequestOptions) {
    state.register(run)
    if let timeout = options.timeout { run.setDeadline(timeout) }
    guard let watch else { return }
    let id = watch.onClose { [weak run] in run?.disconnect() }
    if let id { run.onClose { watch.forget(id) } }
  }

  /// The base of internal ids: the header's id, else the body's, else a fresh one.
  func identifier(_ options: RequestOptions) -> String {
    if request.headers[.xRequestID] == requestID { return requestID }
    return options.requestID ?? requestID
  }
}

extension RequestError {
  static func bodyTooLarge(_ most: Int) -> Self {
    Self(.payloadTooLarge, "The request body is larger than the \(most) bytes this server accepts.")
  }
}
