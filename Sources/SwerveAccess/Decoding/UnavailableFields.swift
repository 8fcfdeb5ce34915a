import SwerveCore

/// Fields whose feature this build does not have. A request that asks for such a feature is refused in one sentence:
/// unconstrained or differently sampled output with status 200 would be a silent lie.
enum UnavailableFields {
  static func check(_ reader: FieldReader) throws(RequestError) {
    try checkConstraints(reader)
    try checkSamplers(reader)
    if reader.has("prompt_embeds") {
      throw .badRequest(
        "prompt_embeds is not supported by this server; send text or token ids.", param: "prompt_embeds")
    }
    if let budget = try reader.int("thinking_token_budget") {
      guard budget >= -1 else {
        throw .badRequest(
          "thinking_token_budget must be -1 or more, got \(budget).", param: "thinking_token_budget")
      }
      if budget >= 0 {
        throw .badRequest(
          "thinking_token_budget is not supported by this server; leave it out or send -1.",
          param: "thinking_token_budget")
      }
    }
    try checkRepetitionDetection(reader)
  }

  /// `response_format`, `structured_outputs` and the older `guided_*` names.
  private static func checkConstraints(_ reader: FieldReader) throws(RequestError) {
    if let format = try reader.object("response_format") {
      let inner = FieldReader(format, path: reader.path(of: "response_format"))
      let type = try inner.string("type")
      guard type == "text" else {
        if type == "json_schema", !inner.has("json_schema") {
          throw .badRequest(
            "response_format of type json_schema needs a json_schema member.", param: "response_format.json_schema")
        }
        let known = ["json_object", "json_schema", "regex", "grammar", "structural_tag"]
        guard let type, known.contains(type) else {
          throw .badRequest("response_format.type must be text or a structured format.", param: "response_format.type")
        }
        throw .badRequest(
          "response_format of type \(type) is not supported by this server; only text is.", param: "response_format")
      }
    }
    for name in ["structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar"]
    where reader.has(name) {
      throw .badRequest("\(name) is not supported by this server: it cannot constrain its output yet.", param: name)
    }
    for name in ["guided_decoding_backend", "guided_whitespace_pattern"] where reader.has(name) {
      throw .badRequest("\(name) is not supported; choose the backend when starting the server.", param: name)
    }
  }

  /// Samplers this build lacks, with the values that leave them off.
  private static let samplers: [(name: String, neutral: [Double])] = [
    ("typical_p", [1]), ("top_n_sigma", [-1, 0]), ("xtc_probability", [0]), ("dry_multiplier", [0]), ("mirostat", [0]),
    ("dynatemp_range", [0]),
  ]

  private static func checkSamplers(_ reader: FieldReader) throws(RequestError) {
    for (name, neutral) in samplers {
      guard let value = try reader.number(name), !neutral.contains(value) else { continue }
      throw .badRequest("\(name) is not supported by this server; leave it out.", param: name)
    }
    if reader.has("samplers") {
      throw .badRequest("samplers is not supported by this server: its order of samplers is fixed.", param: "samplers")
    }
  }

  private static func checkRepetitionDetection(_ reader: FieldReader) throws(RequestError) {
    guard let object = try reader.object("repetition_detection") else { return }
    let inner = FieldReader(object, path: reader.path(of: "repetition_detection"))
    let most = try inner.int("max_pattern_size", in: 0...Int.max) ?? 0
    _ = try inner.int("min_pattern_size", in: 0...Int.max)
    let count = try inner.int("min_count", in: 0...Int.max) ?? 0
    guard most > 0 else { return }
    if count < 2 {
      throw .badRequest(
        "repetition_detection.min_count must be 2 or more, got \(count).", param: "repetition_detection.min_count")
    }
    throw .badRequest(
      "repetition_detection is not supported by this server; leave it out.", param: "repetition_detection")
  }
}
