package import SwerveCore
import SwerveTiers
import SwerveTransfer

/// What of a transfer a request takes part in.
enum Handover: Sendable {
  /// Its prompt's blocks go out.
  case sends(OutgoingBlocks)
  /// Its prompt's blocks come in.
  case takes(IncomingBlocks)
  /// There is nothing to move: a prompt shorter than a block, or blocks that are computed here after all.
  case nothing

  /// The request will not run.
  func abandon() {
    switch self {
    case .sends(let transfer): transfer.abort("the request was refused")
    case .takes(let transfer): transfer.release()
    case .nothing: break
    }
  }
}

extension Engine {
  /// Makes room at the other engine before anything is computed, or takes over what it computed. Answers what the request
  /// does with it, and the `kv_transfer_params` of its answer.
  ///
  /// - Throws: a 503 where the other engine cannot be had or has no room: nothing was computed, so that whoever asked can
  ///   have the prompt computed elsewhere.
  func handOver(
    _ request: GenerationRequest, tokens: [TokenID], salt: [UInt8]
  ) async throws(RequestError) -> (Handover, JSONObject?) {
    guard let exchange, let params = request.kvTransfer else { return (.nothing, nil) }
    let id = try transferID(params)
    let count = (tokens.count - 1) / exchange.greeting.blockTokens
    let digest = Self.digest(tokens.prefix(count * exchange.greeting.blockTokens), salt: salt)
    if params.isForRemoteDecode {
      guard exchange.settings.role.sends else {
        throw .badRequest(
          "kv_transfer_params.do_remote_decode asks for a prompt to be handed over, and this server is a kv_consumer; send "
            + "the request to a kv_producer.", param: "kv_transfer_params.do_remote_decode")
      }
      let handover = try await send(id, digest: digest, count: count, params, exchange)
      return (handover, answer(id, count: count, params, request, exchange))
    }
    guard params.isRemotePrefilled else { return (.nothing, nil) }
    guard exchange.settings.role.receives else {
      throw .badRequest(
        "kv_transfer_params.do_remote_prefill brings a prompt that was computed elsewhere, and this server is a "
          + "kv_producer; send the request to a kv_consumer.", param: "kv_transfer_params.do_remote_prefill")
    }
    return (try take(id, digest: digest, count: count, params, exchange), params.given)
  }

  private func transferID(_ params: KVTransferParams) throws(RequestError) -> BlockTransferID {
    guard let text = params.transferID else { return .random() }
    guard (1...128).contains(text.utf8.count) else {
      throw .badRequest(
        "kv_transfer_params.transfer_id must have 1 to 128 bytes, or be left out.",
        param: "kv_transfer_params.transfer_id")
    }
    return BlockTransferID(named: text)
  }

  /// Of a prompt's whole blocks, and of what else its keys and values depend on.
  static func digest(_ tokens: ArraySlice<TokenID>, salt: [UInt8]) -> [UInt8] {
    var bytes = Array("swerve transfer\0".utf8)
    withUnsafeBytes(of: UInt64(salt.count).littleEndian) { bytes += $0 }
    bytes += salt
    for token in tokens { withUnsafeBytes(of: token.rawValue.littleEndian) { bytes += $0 } }
    var digest = [UInt8](repeating: 0, count: Digest.byteCount)
    digest.withUnsafeMutableBytes { Digest(of: bytes).write(to: $0, at: 0) }
    return digest
  }

  // MARK: Producer

  private func send(
    _ id: BlockTransferID, digest: [UInt8], count: Int, _ params: KVTransferParams, _ exchange: BlockExchange
  ) async throws(RequestError) -> Handover {
    if count == 0 { return .nothing }
    let place = id.place(params.place)
    guard let host = params.host, let port = params.port else {
      guard let transfer = exchange.hold(place, digest: digest, count: count) else {
        throw .refusedTransfer("\(BlockExchange.noRoom)")
      }
      return .sends(transfer)
    }
    let outcome = await withCheckedContinuation { continuation in
      exchange.push(place, digest: digest, count: count, host: host, port: port) { continuation.resume(returning: $0) }
    }
    do { return .sends(try outcome.get()) } catch { throw .refusedTransfer("\(error)") }
  }

  /// What the consumer is to be told.
  private func answer(
    _ id: BlockTransferID, count: Int, _ params: KVTransferParams, _ request: GenerationRequest,
    _ exchange: BlockExchange
  ) -> JSONObject {
    [
      "do_remote_prefill": true, "do_remote_decode": false, "transfer_id": .string(params.transferID ?? id.description),
      "remote_engine_id": .string(exchange.greeting.engine), "remote_host": .string(exchange.settings.host),
      "remote_port": .int(exchange.port), "remote_request_id": .string(request.id),
      "remote_block_ids": .array((0..<count).map { .int($0) }), "pushed": .bool(params.host != nil),
    ]
  }

  // MARK: Consumer

  private func take(
    _ id: BlockTransferID, digest: [UInt8], count: Int, _ params: KVTransferParams, _ exchange: BlockExchange
  ) throws(RequestError) -> Handover {
    if count == 0 { return .nothing }
    let place = id.place(params.place)
    var transfer = params.transferID == nil ? nil : exchange.claim(place, digest: digest)
    if transfer == nil, !params.isPushed, params.transferID != nil, let host = params.host, let port = params.port {
      transfer = exchange.pull(place, digest: digest, count: count, host: host, port: port)
    } else if transfer == nil {
      exchange.countUnknown()
    }
    if let transfer { return .takes(transfer) }
    if exchange.settings.loadFailurePolicy == .fail {
      throw .missingBlocks("there are none of the transfer \(place)")
    }
    return .nothing
  }

  /// Who this engine is to others that hand blocks over.
  package var transferDescription: JSONObject? {
    exchange.map {
      [
        "engine_id": .string($0.greeting.engine), "kv_role": .string($0.settings.role.rawValue),
        "kv_ip": .string($0.settings.host), "kv_port": .int($0.port),
      ]
    }
  }
}

extension RequestError {
  /// The prompt was not computed, for nobody would take it.
  static func refusedTransfer(_ why: String) -> Self {
    Self(
      .unavailable, "The prompt cannot be handed over: \(why).", code: "kv_transfer_refused", retryAfter: 1)
  }

  /// A consumer that must not compute prompts.
  static func missingBlocks(_ why: String) -> Self {
    Self(
      .internalError,
      "The prompt's keys and values did not come (\(why)), and kv_load_failure_policy is fail; send the request again, or "
        + "let the server compute it with recompute.", code: "kv_load_failure")
  }
}
