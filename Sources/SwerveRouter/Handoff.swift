internal import SwerveCore

/// What of a client's request goes to the server that computes its prompt, and to the one that goes on.
enum Handoff {
  /// Paths whose requests have a prompt.
  static let paths: Set<String> = ["/v1/completions", "/v1/chat/completions"]

  /// Whether a prompt computed elsewhere is of use: not where its own rows are wanted, or where the client sees to it.
  static func isUseful(_ body: JSONObject) -> Bool {
    func has(_ name: String) -> Bool { body[name].map { !$0.isNull } ?? false }
    if has("kv_transfer_params") || has("prompt_logprobs") { return false }
    if body["use_beam_search"]?.bool == true { return false }
    return !(body["echo"]?.bool == true && has("logprobs"))
  }

  /// The request as the prefill server gets it: its prompt, and one token that nobody reads.
  ///
  /// - Parameter decode: where the decode server takes blocks, as it says itself; nil where it does not say: then it
  ///   fetches them.
  static func prefill(_ body: JSONObject, transfer: String, decode: JSONObject?) -> JSONObject {
    var prompt = body
    for name in [
      "stream", "stream_options", "n", "best_of", "logprobs", "top_logprobs", "min_tokens", "max_completion_tokens",
      "echo", "return_token_ids",
    ] {
      prompt[name] = nil
    }
    prompt["max_tokens"] = 1
    prompt["kv_transfer_params"] = [
      "do_remote_decode": true, "do_remote_prefill": false, "transfer_id": .string(transfer),
      "remote_engine_id": decode?["engine_id"] ?? .null, "remote_block_ids": .null,
      "remote_host": decode?["kv_ip"] ?? .null, "remote_port": decode?["kv_port"] ?? .null,
    ]
    return prompt
  }

  /// The request as the decode server gets it. nil as `answer` where it computes the prompt itself.
  static func decode(_ body: JSONObject, answer: JSON?) -> JSONObject {
    guard let answer, !answer.isNull else { return body }
    var whole = body
    whole["kv_transfer_params"] = answer
    return whole
  }

  /// 128 random bits.
  static func transferID() -> String {
    var generator = SystemRandomNumberGenerator()
    return [generator.next(), generator.next()].map { (word: UInt64) in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
