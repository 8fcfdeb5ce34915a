extension Flag {
  /// Flags of the parser itself.
  static let general: [Flag] =
    benchGeneral + [
      .bool("dry-run", .general, \.general.dryRun, default: false, "print the memory plan and stop")
    ]

  static let benchGeneral: [Flag] = [
    .string("config", .general, \.general.configFile, "YAML file with flag names as keys"),
    .bool(
      "strict-flags", .general, \.general.strictFlags, default: false,
      "flags that mean nothing here are errors, not warnings"),
    .bool(
      "fail-on-environ-validation", .general, \.general.failOnUnknownEnvironment, default: false,
      "unknown SWERVE_ and VLLM_ variables are errors, not warnings"),
    .bool("print-config", .general, \.general.printConfig, default: false, "print what is in effect and stop"),
  ]

  static let jsonOutput: [Flag] = [
    .bool("json", .general, \.general.json, default: false, "print JSON")
  ]

  /// `chat` and `complete`.
  static let chatFlags: [Flag] = [
    .string("url", .chat, \.chat.url, default: "in this process", "base address of a server: http://host:8000/v1"),
    .string("model-name", .chat, \.chat.modelName, default: "the first listed", "model to ask for at --url"),
    .string("api-key", .chat, \.chat.apiKey, environment: ["OPENAI_API_KEY"], isSecret: true, "key for --url"),
    .string("quick", .chat, \.chat.quick, short: ["q"], "one question, one answer"),
    .bool("stats", .chat, \.chat.showsStatistics, default: false, "time to first token and tokens/s after each answer"),
    .int("max-tokens", .chat, \.chat.maxTokens, default: "the context", "longest answer"),
    optionalDouble("temperature", .chat, \.chat.temperature, "0 = greedy"),
    optionalDouble("top-p", .chat, \.chat.topP, "share of probability considered"),
    .int("top-k", .chat, \.chat.topK, "number of tokens considered"),
    .int("sampling-seed", .chat, \.chat.seed, "same seed, same answer"),
    .bool("insecure", .chat, \.chat.insecure, default: false, "accept any certificate"),
  ]

  static let chatOnly: [Flag] = [
    .string("system-prompt", .chat, \.chat.systemPrompt, "first message of the conversation")
  ]

  static let textFlags: [Flag] =
    [
      .string("tokenizer", .text, \.tokenizer, default: "story", aliases: ["model"], "folder or Hub id"),
      .string("revision", .text, \.revision, "branch, tag or commit on the Hub"),
      .string("hf-token", .text, \.hub.token, environment: ["HF_TOKEN"], isSecret: true, "token for the Hub"),
      .bool(
        "offline", .text, \.hub.offline, default: false, environment: ["HF_HUB_OFFLINE"], "use only what is cached"),
    ] + renderFlags

  static let renderFlags: [Flag] = [
    .bool("jsonl", .text, \.text.jsonLines, default: false, "one JSON object a line, in and out")
  ]

  static let quantize: [Flag] = [
    .string("output", .quantize, \.quantize.output, short: ["o"], "folder for the packed model; made where missing"),
    .bool("force", .quantize, \.quantize.overwrites, default: false, "write into a folder that has files already"),
    .bool(
      "verify", .quantize, \.quantize.verifies, default: false,
      "write nothing: read a packed model and compare every part with its checksum"),
  ]

  static func optionalDouble(
    _ name: String, _ section: Section, _ path: Field<Double?>, _ help: String
  ) -> Flag {
    custom(name, .double, section, help) { if case .double(let given) = $1 { $0[keyPath: path] = given } }
  }
}
