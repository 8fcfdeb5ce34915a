import HTTPTypes
import Hummingbird
import NIOCore
import SwerveCore

/// Routes for operators and their machines: health, version, load, metrics, cache.
enum Operations {
  /// 200 with an empty body while new work is accepted and the engine makes progress.
  @Sendable static func health(_ exchange: Exchange) async throws -> Response {
    if let error = exchange.state.unavailability { throw error }
    return Response(status: .ok)
  }

  @Sendable static func version(_ exchange: Exchange) async throws -> Response {
    .json(["version": .string(exchange.configuration.version)])
  }

  @Sendable static func load(_ exchange: Exchange) async throws -> Response {
    .json(["server_load": .int(exchange.state.inFlight)])
  }

  /// Prometheus text 0.0.4, or OpenMetrics 1.0 where `Accept` names it.
  @Sendable static func metrics(_ exchange: Exchange) async throws -> Response {
    let accepts = exchange.request.headers[.accept] ?? ""
    let format = accepts.contains("application/openmetrics-text") ? MetricsFormat.openMetrics : .text
    let metrics = exchange.state.metrics
    metrics.update(from: exchange.engine.statistics)
    let body = ByteBuffer(string: metrics.registry.render(format))
    return Response(status: .ok, headers: [.contentType: format.contentType], body: ResponseBody(byteBuffer: body))
  }

  /// Where other servers hand keys and values over to this one: what a router asks before it names this server to another.
  @Sendable static func kvTransfer(_ exchange: Exchange) async throws -> Response {
    guard let description = exchange.engine.transferDescription else {
      throw RequestError(
        .notFound, "This server hands no keys and values over; start it with --kv-transfer-config for that.")
    }
    return .json(.object(description))
  }

  @Sendable static func resetPrefixCache(_ exchange: Exchange) async throws -> Response {
    .json(["success": .bool(await exchange.engine.resetPrefixCache())])
  }

  /// Attaches a data worker, the one at `{"at": "host:port"}` or one of this host: `{"worker": "d2"}` once it takes
  /// sequences.
  @Sendable static func addDataWorker(_ exchange: Exchange) async throws -> Response {
    let body: JSON = exchange.request.headers[.contentType] == nil ? [:] : try await exchange.json()
    if let address = body["at"], address != .null, address.string == nil {
      throw RequestError.badRequest("at must be host:port of a data worker.", param: "at")
    }
    return .json(["worker": .string(try await exchange.engine.change(.attach(at: body["at"]?.string)))])
  }

  /// `{"worker": "d1", "timeout": 30}`: the same when its sequences have ended or moved.
  @Sendable static func drainDataWorker(_ exchange: Exchange) async throws -> Response {
    let body = try await exchange.json()
    guard let name = body["worker"]?.string, name.hasPrefix("d"), let worker = Int(name.dropFirst()), worker >= 0 else {
      throw RequestError.badRequest("worker must name a data worker as in d0.", param: "worker")
    }
    let seconds = body["timeout"]?.double ?? 30
    guard (0...86_400).contains(seconds) else {
      throw RequestError.badRequest("timeout must be between 0 and 86400 seconds.", param: "timeout")
    }
    return .json(["worker": .string(try await exchange.engine.change(.drain(worker: worker, seconds: seconds)))])
  }

  @Sendable static func notOffered(_ exchange: Exchange) async throws -> Response {
    throw RequestError(
      .notImplemented, "This server does not offer this route; it answers chat and text completions.")
  }
}
