public import SwerveCore

/// Engine settings under the names of vLLM's `LLM(...)`, in camel case, snake case or with hyphens:
/// `["max_model_len": 4096, "gpuMemoryUtilization": 0.5]`.
///
/// A name whose feature does not exist yet may be given its neutral value (`tensor_parallel_size` 1); any other value,
/// an unknown name or a value of the wrong type is an error that says so. Nothing is ignored.
public struct EngineArguments: Sendable, ExpressibleByDictionaryLiteral {
  var members: JSONObject

  public init(_ members: JSONObject = JSONObject()) { self.members = members }
  public init(dictionaryLiteral elements: (String, JSON)...) { self.init(JSONObject(elements)) }

  /// The settings on top of `configuration`. Throws a 400 with the first wrong argument.
  public func apply(to configuration: EngineConfiguration) throws(RequestError) -> EngineConfiguration {
    var configuration = configuration
    for (name, value) in members where !value.isNull {
      let key = Self.normalised(name)
      if key == "speculative_config", let members = value.object {
        do {
          configuration.speculation = try SpeculationConfiguration(members)
        } catch {
          throw .badRequest(error.description, param: name)
        }
        continue
      }
      guard let rule = Self.rules[key] else {
        throw .badRequest("There is no engine argument \(name).", param: name)
      }
      guard rule(&configuration, value) else {
        throw .badRequest("The engine argument \(name) cannot be \(value.text).", param: name)
      }
    }
    let problems = configuration.problems()
    if !problems.isEmpty { throw .badRequest(problems.joined(separator: " ")) }
    return configuration
  }

  /// `gpuMemoryUtilization`, `gpu-memory-utilization` → `gpu_memory_utilization`
  static func normalised(_ name: String) -> String {
    var key = ""
    for character in name {
      if character == "-" {
        key.append("_")
      } else if character.isUppercase {
        if !key.isEmpty { key.append("_") }
        key.append(character.lowercased())
      } else {
        key.append(character)
      }
    }
    return key
  }

  private typealias Rule = @Sendable (inout EngineConfiguration, JSON) -> Bool

  /// Writes a value of the right type; false for any other.
  private static func set<Value>(
    _ path: WritableKeyPath<EngineConfiguration, Value> & Sendable, _ read: @escaping @Sendable (JSON) -> Value?
  ) -> Rule {
    { configuration, value in
      guard let value = read(value) else { return false }
      configuration[keyPath: path] = value
      return true
    }
  }

  /// A feature that does not exist yet: only its neutral value passes.
  private static func only(_ neutral: JSON...) -> Rule { { _, value in neutral.contains(value) } }

  private static let rules: [String: Rule] = [
    "tokenizer": set(\.tokenizerFolder) { $0.string },
    "skip_tokenizer_init": set(\.skipTokenizerInit) { $0.bool },
    "dtype": set(\.dtype) { dtype($0.string) },
    "load_format": set(\.loadFormat) { $0.string.flatMap { EngineConfiguration.LoadFormat(rawValue: $0) } },
    "quantization": set(\.quantization) { $0.string.flatMap { EngineConfiguration.Quantization(method: $0) } },
    "quantization_config": { configuration, value in
      guard let members = value.object, members.keys.allSatisfy({ $0 == "group_size" }) else { return false }
      guard let group = members["group_size"] else { return true }
      configuration.quantizationGroup = group.int
      return group.int != nil
    },
    "max_model_len": set(\.maxModelLength) { $0.int },
    "hf_overrides": set(\.configOverrides) { $0.object },
    "generation_config": set(\.generationConfig) { $0.string },
    "override_generation_config": set(\.overrideGenerationConfig) { $0.object },
    "chat_template": set(\.chatTemplate) { $0.string },
    "seed": set(\.seed) { $0.int },
    "block_size": set(\.blockSize) { $0.int },
    "gpu_memory_utilization": set(\.memoryUtilization) { $0.double },
    "kv_cache_memory_bytes": set(\.kvCacheBytes) { $0.int },
    "num_gpu_blocks_override": set(\.kvBlocks) { $0.int },
    "enable_prefix_caching": set(\.enablePrefixCaching) { $0.bool },
    "max_num_batched_tokens": set(\.maxBatchedTokens) { $0.int },
    "max_num_seqs": set(\.maxSequences) { $0.int },
    "enable_chunked_prefill": set(\.enableChunkedPrefill) { $0.bool },
    "long_prefill_token_threshold": set(\.longPrefillThreshold) { $0.int },
    "scheduling_policy": set(\.schedulingPolicy) { $0.string.flatMap { EngineConfiguration.Policy(rawValue: $0) } },
    "scheduler_cls": set(\.schedulerExtension) { $0.string },
    "speculative_config": only(),
    "max_logprobs": set(\.maxLogprobs) { $0.int },
    // Accepted as everywhere: no remote code is ever executed, and there is no graph to capture.
    "trust_remote_code": { _, value in value.bool != nil },
    "enforce_eager": { _, value in value.bool != nil },
    "tensor_parallel_size": only(1),
    "pipeline_parallel_size": only(1),
    "data_parallel_size": only(1),
    "kv_cache_dtype": { configuration, value in
      guard let name = value.string else { return false }
      configuration.kvCacheType = KVType(name: name)
      return name == "auto" || configuration.kvCacheType != nil
    },
    "swap_space": only(0),
    "cpu_offload_gb": only(0),
    "enable_lora": only(false),
  ]

  private static func dtype(_ name: String?) -> EngineConfiguration.DType? {
    switch name {
    case "half": .float16
    case "float": .float32
    default: name.flatMap { EngineConfiguration.DType(rawValue: $0) }
    }
  }
}
