internal import AsyncHTTPClient
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import SwerveCore

// The part of a request that goes to a prefill server. Whatever happens here, the decode server can do without.
extension RouterResponder {
  /// The request for a decode server, with its prompt computed elsewhere if that can be had.
  func whole(_ body: JSONObject, _ forward: Forward, decode index: Int) async throws -> JSONObject {
    guard !prefill.isEmpty, Handoff.isUseful(body) else {
      metrics.count(.direct)
      return body
    }
    let description = try await describe(index, forward)
    let transfer = Handoff.transferID()
    let prompt = Handoff.prefill(body, transfer: transfer, decode: description)
    var outcome = RouterMetrics.Prompt.unreachable
    for server in prefill.order() {
      let url = prefill.urls[server]
      prefill.begin(server)
      defer { prefill.end(server) }
      do {
        var request = forward.request(to: url)
        request.body = .bytes(ByteBuffer(bytes: JSON.object(prompt).bytes))
        let response = try await client.execute(
          request, timeout: .nanoseconds(Int64(configuration.prefillSeconds * 1e9)), logger: nil)
        let bytes = try await response.body.collect(upTo: configuration.mostBodyBytes)
        prefill.succeed(server)
        let answer = try? JSON(parsing: Array(bytes.readableBytesView))
        if response.status.code == 200, let params = answer?["kv_transfer_params"], !params.isNull {
          metrics.count(.handedOver)
          return Handoff.decode(body, answer: params)
        }
        outcome = response.status.code == 503 ? .refused : .failed
        let why =
          answer?["error"]?["message"]?.string ?? "it answered \(response.status.code) without kv_transfer_params"
        logger.info("A prompt is computed by the decode server, for \(url) did not: \(why.prefix(300))")
        // A request that is wrong is so everywhere; one that is refused may find room with the next.
        if response.status.code != 503 { break }
      } catch is CancellationError {
        throw CancellationError()
      } catch {
        prefill.fail(server)
        metrics.countUnreachable(url)
        logger.warning("The prefill server \(url) does not answer: \(Self.words(error))")
      }
    }
    metrics.count(outcome)
    return body
  }

  /// Where a decode server takes blocks; nil where it does not say.
  ///
  /// - Throws: what the client throws when the server cannot be reached at all.
  private func describe(_ index: Int, _ forward: Forward) async throws -> JSONObject? {
    if let known = decode.description(index) { return known.object }
    var request = HTTPClientRequest(url: decode.urls[index] + "/kv_transfer")
    request.method = .GET
    for (name, value) in forward.headers where ["authorization", "x-api-key", "api-key"].contains(name.lowercased()) {
      request.headers.add(name: name, value: value)
    }
    let response = try await client.execute(
      request, timeout: .nanoseconds(Int64(configuration.connectSeconds * 1e9)), logger: nil)
    let bytes = try await response.body.collect(upTo: 1 << 16)
    let status = response.status.code
    guard status == 200, let answer = try? JSON(parsing: Array(bytes.readableBytesView)) else {
      // A server of another make stays one; a key that was wrong may be right next time.
      if status == 404 || status == 405 || status == 501 { decode.note(.null, of: index) }
      return nil
    }
    decode.note(answer, of: index)
    return answer.object
  }
}
