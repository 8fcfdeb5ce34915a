extension Flag {
  /// Speculation, adapters, grammars, parsers.
  static let features: [Flag] =
    speculation + [
      .later("enable-lora", .bool, .features, default: "false", why: noAdapters, "LoRA adapters"),
      .later("max-loras", .int, .features, default: "1", why: noAdapters, "adapters in one batch"),
      .later("max-lora-rank", .int, .features, default: "16", why: noAdapters, "largest rank"),
      .later("max-cpu-loras", .int, .features, default: "null", why: noAdapters, "adapters kept on the host"),
      .later("lora-modules", .list, .features, default: "", why: noAdapters, "adapters: name=path"),
      .later("lora-dtype", .string, .features, default: "auto", why: noAdapters, "type of adapters"),
      .later("fully-sharded-loras", .bool, .features, default: "false", why: noAdapters, "spread adapters"),
      .later(
        "structured-outputs-config", .json, .features, default: #"{"backend":"auto"}"#, allowed: ["{}", "null"],
        why: "grammars are not enforced", "structured output"),
      .later(
        "guided-decoding-backend", .string, .features, default: "auto", why: "grammars are not enforced",
        "older name of --structured-outputs-config.backend"),
      .later(
        "reasoning-parser", .string, .features, default: "auto", allowed: ["", "none"],
        why: "reasoning is not split off", "reasoning format"),
      .later(
        "reasoning-config", .json, .features, default: "{}", allowed: ["null"], why: "reasoning is not split off", ""),
      .later(
        "tool-call-parser", .string, .features, default: "auto", allowed: ["", "none"],
        why: "tool calls are not parsed", "tool call format"),
      .later(
        "enable-auto-tool-choice", .bool, .features, default: "false", why: "tool calls are not parsed",
        "let the model choose tools"),
      .later("tool-parser-plugin", .string, .features, default: "null", why: "tool calls are not parsed", "extension"),
      .later(
        "tool-strict-level", .words("auto", "function", "parameter"), .features, default: "auto",
        why: "tool calls are not parsed", "how strict tool calls are"),
      .later(
        "attention-backend", .string, .features, default: "auto",
        why: "attention has one implementation per kernel set",
        "attention"),
      .later("limit-mm-per-prompt", .json, .features, default: "{}", allowed: ["null"], why: textOnly, "media limits"),
      .later("allowed-local-media-path", .string, .features, default: "", why: textOnly, "folder of media"),
      .later("allowed-media-domains", .list, .features, default: "", why: textOnly, "hosts of media"),
      .custom(
        "deterministic", .bool, .features, default: "true", environment: ["VLLM_BATCH_INVARIANT"],
        "results do not depend on batch, chunks or cache hits: always so"
      ) { _, _ in },
      .ignored(
        "compilation-config", .json, .features, short: ["O"], why: "nothing is compiled at run time", "compiler"),
      .ignored("optimization-level", .int, .features, why: "nothing is compiled at run time", "compiler"),
      .ignored("cudagraph-capture-sizes", .list, .features, why: "there are no CUDA graphs", "graph sizes"),
      .ignored("max-cudagraph-capture-size", .int, .features, why: "there are no CUDA graphs", "largest graph"),
      .ignored("cuda-graph-sizes", .list, .features, why: "there are no CUDA graphs", "graph sizes"),
      .ignored("disable-cascade-attn", .bool, .features, why: "there is no cascade attention", "attention"),
      .ignored("mm-processor-kwargs", .json, .features, why: "models read text only", "media"),
      .ignored("disable-mm-preprocessor-cache", .bool, .features, why: "models read text only", "media"),
      .ignored("use-v2-block-manager", .bool, .features, why: "there is one block manager", "block manager"),
      .ignored("additional-config", .json, .features, why: "there is no platform extension", "platform"),
    ]

  private static let noAdapters = "models are served as they are on disk"
  private static let textOnly = "models read text only"
}
