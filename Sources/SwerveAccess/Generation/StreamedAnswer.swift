import HTTPTypes
import Hummingbird
import NIOCore
import SwerveCore

/// Sends a run's events to the client as they come.
enum StreamedAnswer {
  /// Answers once the engine has accepted every prompt: until then a refusal still has its own status.
  static func response(
    _ stream: EventStream<some ChunkWriter>, of run: GenerationRun, prompts: Int, exchange: Exchange, log: RequestLog
  ) async throws(RunFailure) -> Response {
    let accepted = try await run.accepted(prompts: prompts)
    // Headers go first: where they may have to tell of lossy blocks, they wait for what the first tokens say.
    let mayReadLossy = exchange.engine.model.mayReadLossy
    let early = mayReadLossy ? try await run.started(prompts: prompts, after: accepted) : accepted
    let interval = exchange.configuration.keepAliveInterval
    if interval > 0 { run.setKeepAlive(.seconds(interval)) }
    let record = exchange.record
    record.noteStreaming()
    let body = ResponseBody { writer in
      var sent = 0
      // The client's status is 200 whatever happens from here on; the log tells those who stayed from those who left.
      var status = (code: 499, reason: "Client Closed Request")
      var stream = stream
      defer {
        run.close()
        log.finished(stream, isComplete: status.code == 200)
        record.finish(status: status.code, reason: status.reason, responseBytes: sent)
      }
      var events = early
      while true {
        var out: [UInt8] = []
        for event in events { await stream.apply(event, to: &out) }
        if !out.isEmpty {
          try await writer.write(ByteBuffer(bytes: out))
          sent += out.count
          run.noteWrite()
        }
        if stream.isDone { break }
        events = await run.mailbox.receive()
        if events.isEmpty { throw CancellationError() }
      }
      if stream.isAbandoned { throw CancellationError() }
      status = (200, "OK")
      // What was read after the headers had gone is told behind the body.
      try await writer.finish(stream.hasReadLossy ? [.xSwerveLossyKV: "true"] : nil)
    }
    var headers: HTTPFields = [
      .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache", .connection: "keep-alive",
      .xAccelBuffering: "no",
    ]
    if mayReadLossy { headers[.trailer] = HTTPField.Name.xSwerveLossyKV.rawName }
    return Response(status: .ok, headers: headers, body: body).telling(
      lossyKV: mayReadLossy && early.contains(where: \.hasReadLossy))
  }
}
