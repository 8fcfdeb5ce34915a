import HTTPTypes
import Hummingbird
import SwerveCore

/// `POST /tokenize` and `POST /detokenize`, in the shapes of vLLM and llama.cpp.
enum Tokenization {
  /// Takes `{prompt}`, `{messages, …}` or llama.cpp's `{content, add_special, with_pieces}`.
  @Sendable static func tokenize(_ exchange: Exchange) async throws -> Response {
    let reader = try FieldReader(body: try await exchange.json())
    _ = try RequestOptions.model(reader, exchange.configuration)
    let isLlamaShape = !reader.has("prompt") && !reader.has("messages") && reader.has("content")
    let prompt = try prompt(reader, exchange.configuration)
    var addsSpecial = if case .chat = prompt { false } else { true }
    if isLlamaShape { addsSpecial = try reader.bool("add_special") ?? false }
    addsSpecial = try reader.bool("add_special_tokens") ?? addsSpecial
    let tokens = try await exchange.engine.tokenize(prompt, addSpecialTokens: addsSpecial).tokens

    let wantsStrings = try reader.bool("return_token_strs") ?? false
    let wantsPieces = try reader.bool("with_pieces") ?? false
    var out: [UInt8] = []
    out.raw(#"{"count":"#)
    out.int(tokens.count)
    out.raw(#","max_model_len":"#)
    out.int(exchange.engine.model.maxModelLength)
    out.raw(#","tokens":"#)
    if isLlamaShape, wantsPieces {
      out.list(tokens) { out, token in
        out.raw(#"{"id":"#)
        out.int(Int(token.rawValue))
        out.raw(#","piece":"#)
        out.string(exchange.engine.tokenString(token) ?? "")
        out.raw("}")
      }
    } else {
      out.tokens(tokens)
    }
    out.raw(#","token_strs":"#)
    if wantsStrings {
      out.list(tokens) { out, token in out.string(orNull: exchange.engine.tokenString(token)) }
    } else {
      out.raw("null")
    }
    out.raw("}")
    return .json(out)
  }

  private static func prompt(
    _ reader: FieldReader, _ configuration: ServerConfiguration
  ) throws(RequestError) -> GenerationRequest.Prompt {
    if let text = try reader.string("prompt") { return .text(text) }
    if reader.has("messages") {
      return .chat(try ChatFields(reader: reader, configuration: configuration).prompt())
    }
    if let text = try reader.string("content") { return .text(text) }
    throw .badRequest("prompt is required: a string, or messages for a conversation.", param: "prompt")
  }

  /// Takes `{tokens}`. The text comes back under both names clients read: `prompt` (vLLM) and `content` (llama.cpp).
  @Sendable static func detokenize(_ exchange: Exchange) async throws -> Response {
    let reader = try FieldReader(body: try await exchange.json())
    _ = try RequestOptions.model(reader, exchange.configuration)
    guard let tokens = try reader.tokens("tokens") else {
      throw RequestError.badRequest("tokens is required: a list of token ids.", param: "tokens")
    }
    let size = exchange.engine.model.vocabularySize
    if let bad = tokens.first(where: { Int($0.rawValue) >= size }) {
      throw RequestError.badRequest("tokens has \(bad), outside the vocabulary of \(size).", param: "tokens")
    }
    let text = try await exchange.engine.detokenize(tokens)
    return .json(["prompt": .string(text), "content": .string(text)])
  }
}
