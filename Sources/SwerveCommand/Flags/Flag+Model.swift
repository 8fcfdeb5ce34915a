import SwerveAccess
import SwerveCore

extension Flag {
  /// Model, tokenizer and where they come from.
  static let model: [Flag] = [
    .string(
      "model", .model, \.model, default: "story", aliases: ["model-path", "hf"], short: ["m"],
      "Hub id, folder, or story (the embedded model)"),
    .string("tokenizer", .model, \.tokenizer, "folder or Hub id with another tokenizer and chat template"),
    .later(
      "tokenizer-mode", .words("auto", "hf", "slow", "mistral", "gguf"), .model, default: "auto",
      allowed: ["hf", "slow"], why: "tokenizers are recognised by their files", "how to read the tokenizer"),
    .bool(
      "skip-tokenizer-init", .model, \.engine.skipTokenizerInit, default: false,
      "load no tokenizer: prompts and outputs are token ids"),
    .string("revision", .model, \.revision, "branch, tag or commit of the model on the Hub"),
    .string("tokenizer-revision", .model, \.tokenizerRevision, "the same for --tokenizer"),
    .string("hf-token", .model, \.hub.token, environment: ["HF_TOKEN"], isSecret: true, "token for the Hub"),
    .string("download-dir", .model, \.hub.downloadFolder, "folder of the Hub cache (else HF_HUB_CACHE, HF_HOME)"),
    .bool(
      "offline", .model, \.hub.offline, default: false, environment: ["HF_HUB_OFFLINE"], "use only what is cached"),
    .custom(
      "trust-remote-code", .bool, .model, default: "false",
      "accepted; code from model repositories is never executed, families are built in"
    ) { _, _ in },
    .custom(
      "dtype",
      .choice([
        "auto": "auto", "half": "float16", "float16": "float16", "fp16": "float16", "bfloat16": "bfloat16",
        "bf16": "bfloat16", "float": "float32", "float32": "float32", "fp32": "float32",
      ]), .model, default: "auto", "type of weights and activations"
    ) { settings, value in
      if let dtype = EngineConfiguration.DType(rawValue: value.text) { settings.engine.dtype = dtype }
    },
    .int(
      "max-model-len", .model, \.engine.maxModelLength, default: "from the model",
      aliases: ["max-sequence-length", "context-length", "ctx-size"], short: ["c"], words: ["auto": -1],
      "longest prompt + output in tokens; auto = the largest that fits"),
    .custom(
      "quantization", .string, .model, default: "none", short: ["q"],
      "round weights while loading: int8, int4, nf4 (bitsandbytes), or int8-dynamic, int4-dynamic, which round activations too"
    ) { settings, value in
      guard let method = EngineConfiguration.Quantization(method: value.text) else {
        throw FlagError(
          "\(value.text) is not supported yet: weights are rounded while loading; give "
            + EngineConfiguration.Quantization.names)
      }
      settings.engine.quantization = method
    },
    .bool("load-8bit", .model, \.load8Bit, default: false, "short for --quantization int8"),
    .bool("load-4bit", .model, \.load4Bit, default: false, "short for --quantization nf4, groups of 64"),
    .custom(
      "quantization-config", .json, .model, default: "{}",
      "group_size: inputs that share a scale, 32, 64 or 128 (nf4: 64, others: 128)"
    ) { settings, value in
      guard case .json(let json) = value, !json.isNull else { return }
      guard let members = json.object else { throw FlagError("needs a JSON object, not \(value.text)") }
      for (name, member) in members {
        guard name == "group_size" else {
          throw FlagError("\(name) is not supported yet: every matrix is quantised alike; give group_size")
        }
        guard let group = member.int else { throw FlagError("group_size must be 32, 64 or 128, not \(member.text)") }
        settings.engine.quantizationGroup = group
      }
    },
    .custom(
      "load-format", .string, .model, default: "auto",
      "auto, safetensors, packed (from swerve quantize), or dummy (random weights from config.json)"
    ) { settings, value in
      guard let format = EngineConfiguration.LoadFormat(rawValue: value.text.lowercased()) else {
        throw FlagError(
          "\(value.text) is not supported yet: weights are read from safetensors; give auto, safetensors, packed or dummy"
        )
      }
      settings.engine.loadFormat = format
    },
    .later(
      "safetensors-load-strategy", .words("lazy", "eager", "prefetch"), .model, default: "lazy",
      why: "weights are always memory-mapped", "how weight files are read"),
    .ignored(
      "max-parallel-loading-workers", .int, .model, why: "weights are memory-mapped by one process",
      "processes that load at once"),
    .object("hf-overrides", .model, \.engine.configOverrides, "members that replace those of config.json"),
    .list(
      "served-model-name", .model, \.server.servedModelNames, default: "the model's name",
      "names clients may use; the first is the one in replies"),
    .string(
      "generation-config", .model, \.engine.generationConfig, default: "auto",
      "sampling defaults: auto (the model's file), vllm (none) or a folder"),
    .object(
      "override-generation-config", .model, \.engine.overrideGenerationConfig, "members that replace those defaults"),
    .later(
      "runner", .words("auto", "generate", "pooling"), .model, default: "auto", allowed: ["generate"],
      why: "models generate text only", "what the model is for"),
    .later(
      "convert", .words("auto", "none", "embed", "classify"), .model, default: "auto", allowed: ["none"],
      why: "models generate text only", "use a generating model for something else"),
    .int("seed", .model, \.engine.seed, default: 0, "seed of requests that bring none"),
    .int(
      "max-logprobs", .model, \.engine.maxLogprobs, default: 20,
      "most log-probabilities a request may ask for; -1 = the vocabulary"),
    .later(
      "logprobs-mode", .string, .model, default: "raw_logprobs", why: "log-probabilities are those of the raw logits",
      "which log-probabilities are returned"),
    .later(
      "logits-processors", .list, .model, default: "", why: "there are no extension processors",
      "extra logits processors"),
    .later(
      "enable-sleep-mode", .bool, .model, default: "false", why: "weights cannot be unloaded while serving",
      "allow unloading weights at run time"),
    .ignored("enforce-eager", .bool, .model, why: "there is no graph capture to turn off", "run without graphs"),
    .ignored("model-impl", .string, .model, why: "there is one implementation of every model", "implementation"),
    .ignored("config-format", .string, .model, why: "config.json is read", "format of the configuration"),
    .ignored("tokenizer-pool-size", .int, .model, why: "tokenizing needs no pool", "tokenizer processes"),
  ]
}
