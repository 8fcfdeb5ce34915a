import SwerveCore

extension Flag {
  /// Drafting and verifying several tokens a step. The short forms come after the whole object and win over it.
  static let speculation: [Flag] = [
    .custom(
      "speculative-config", .json, .features, default: "null",
      "guess tokens and verify several a step: method ngram, num_speculative_tokens, prompt_lookup_min, "
        + "prompt_lookup_max, disable_by_batch_size; results stay the same"
    ) { settings, value in
      guard case .json(let json) = value, !json.isNull else { return }
      guard let members = json.object else { throw FlagError("needs a JSON object, not \(json.text)") }
      settings.speculation = members
    },
    .custom(
      "spec-method", .string, .features, default: "null", "short for --speculative-config.method"
    ) { settings, value in
      if value.text != "null" { settings.speculation["method"] = .string(value.text) }
    },
    .later(
      "spec-model", .string, .features, default: "null", allowed: ["ngram", "[ngram]"],
      why: "n-gram look-up has no draft model", "draft model"),
    .custom(
      "spec-tokens", .int, .features, default: "8 with ngram", "short for --speculative-config.num_speculative_tokens"
    ) { settings, value in
      if case .int(let count) = value { settings.speculation["num_speculative_tokens"] = .int(count) }
    },
  ]
}
