import SwerveCore
import SwerveInference
import Testing

@Suite struct ConfigurationTests {
  private static let plain: JSONObject = [
    "architectures": ["LlamaForCausalLM"], "vocab_size": 256, "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 4, "num_attention_heads": 4,
  ]

  private func decode(_ more: JSONObject = [:], overrides: JSONObject = [:]) throws -> ModelConfiguration {
    var object = Self.plain
    for (key, value) in more { object[key] = value }
    return try ModelConfiguration(.object(object), overrides: overrides, file: "config.json")
  }

  @Test func `what config.json leaves out has the reference's defaults`() throws {
    let llama = try decode(["num_key_value_heads": nil, "rope_scaling": nil])
    #expect(llama.keyValueHeadCount == 4)
    #expect(llama.headDim == 16)
    #expect(llama.contextTokens == 2048)
    #expect(llama.rotary == RotaryConfiguration(theta: 10_000, dimensions: 16))
    #expect(!llama.tiedEmbeddings && !llama.queryKeyValueBias && !llama.mlpBias)
    #expect(llama.windows == [nil, nil, nil, nil])
    let qwen3 = try decode(["architectures": ["Qwen3ForCausalLM"], "num_key_value_heads": 2])
    #expect(qwen3.headDim == 128)
    let mistral = try decode(["architectures": ["MistralForCausalLM"], "num_key_value_heads": 2])
    #expect(mistral.windows == [4096, 4096, 4096, 4096])
    let full = try decode([
      "architectures": ["MistralForCausalLM"], "num_key_value_heads": 2, "sliding_window": nil,
    ])
    #expect(full.windows == [nil, nil, nil, nil])
  }

  @Test func `qwen2 uses its window only where it says so, on its upper layers`() throws {
    let more: JSONObject = [
      "architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2, "sliding_window": 32, "max_window_layers": 3,
    ]
    var on = more
    on["use_sliding_window"] = true
    #expect(try decode(more).windows == [nil, nil, nil, nil])
    #expect(try decode(on).windows == [nil, nil, nil, 32])
    on["layer_types"] = ["sliding_attention", "full_attention", "full_attention", "full_attention"]
    #expect(try decode(on).windows == [32, nil, nil, nil])
    let biased = try decode(on)
    #expect(biased.queryKeyValueBias && !biased.outputBias)
  }

  @Test func `newer names of rotary parameters and type mean the same`() throws {
    let older = try decode([
      "rope_theta": 5e5, "torch_dtype": "float16", "rope_scaling": ["type": "linear", "factor": 4],
    ])
    let newer = try decode([
      "dtype": "float16", "rope_parameters": ["rope_type": "linear", "factor": 4.0, "rope_theta": 500_000.0],
    ])
    #expect(older.rotary == newer.rotary)
    #expect(older.checkpointType == .float16 && newer.checkpointType == .float16)
    #expect(older.contextTokens == 8192)
    let perKind = try decode([
      "rope_parameters": ["full_attention": ["rope_type": "default", "rope_theta": 7.0]]
    ])
    #expect(perKind.rotary.theta == 7)
  }

  @Test func `overrides win, also over a newer name of the same thing`() throws {
    let file: JSONObject = [
      "rope_parameters": [
        "rope_type": "llama3", "rope_theta": 77.0, "factor": 8, "low_freq_factor": 1,
        "high_freq_factor": 4, "original_max_position_embeddings": 64,
      ], "dtype": "float32",
    ]
    #expect(try decode(file, overrides: ["rope_theta": 99.0]).rotary.theta == 99)
    let scaled = try decode(file, overrides: ["rope_scaling": ["rope_type": "linear", "factor": 2]])
    #expect(scaled.rotary == RotaryConfiguration(theta: 77, dimensions: 16, scaling: .linear(factor: 2)))
    #expect(try decode(file, overrides: ["torch_dtype": "bfloat16"]).checkpointType == .bfloat16)
    #expect(try decode(overrides: ["num_hidden_layers": 1]).layerCount == 1)
  }

  @Test(
    arguments: [
      (["architectures": ["GPT2LMHeadModel"]], "supported are LlamaForCausalLM"),
      (["architectures": nil, "model_type": "gpt2"], "model_type"), (["architectures": nil], "is missing"),
      (["architectures": "LlamaForCausalLM"], "list of names"),
      (["vocab_size": nil], "vocab_size is missing"), (["vocab_size": 0], "between 1"),
      (["vocab_size": "256"], "not \"256\""), (["hidden_size": 1e30], "hidden_size"),
      (["num_attention_heads": 3], "must divide hidden_size"),
      (["num_key_value_heads": 3], "must divide num_attention_heads"), (["head_dim": 15], "must be even"),
      (["hidden_act": "gelu"], "supported is silu"), (["rms_norm_eps": -1], "rms_norm_eps"),
      (["quantization_config": ["quant_method": "gptq"]], "gptq"),
      (["rope_scaling": ["rope_type": "longrope"]], "supported are default, linear"),
      (["rope_scaling": ["type": "linear"]], "rope_scaling.factor is missing"),
      (["rope_scaling": ["type": "linear", "factor": 0]], "rope_scaling.factor"),
      (
        ["rope_scaling": ["rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1]],
        "greater than"
      ),
      (["rope_scaling": 3], "must be an object"), (["attention_bias": 1], "must be true or false"),
      (["partial_rotary_factor": 0.0], "even number"), (["eos_token_id": "x"], "token id"),
      (["rope_parameters": ["full_attention": ["rope_theta": 1], "sliding_attention": ["rope_theta": 2]]], "differs"),
    ] as [(JSONObject, String)])
  func `a value that cannot be used is named`(more: JSONObject, reason: String) {
    let error = #expect(throws: ModelFileError.self) { try decode(more) }
    #expect(error?.file == "config.json")
    #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "none")")
  }

  @Test func `a missing configuration names the file`() {
    let error = #expect(throws: ModelFileError.self) { try ModelConfiguration(ModelFiles(place: "m", memory: [:])) }
    #expect(error?.description.hasPrefix("m/config.json: is missing") == true)
  }

  @Test func `no mutation of a configuration traps, and what is accepted keeps its promises`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = Randomness(seed: seed)
    let values: [JSON] = [
      nil, true, 0, 1, -1, 2, 3, 64, 1.5, 1e300, .double(.nan), .int(.max), .int(.min), "", "linear", "yarn", "dynamic",
      "llama3", [], [1, 2], ["LlamaForCausalLM"], [:], ["rope_type": "yarn", "factor": 4],
      ["type": "dynamic", "factor": 2],
      ["full_attention": [:]], ["rope_type": "yarn", "factor": 1e-3, "original_max_position_embeddings": 1],
    ]
    let keys = [
      "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
      "num_attention_heads", "num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "rope_scaling",
      "rope_parameters", "max_position_embeddings", "tie_word_embeddings", "attention_bias", "mlp_bias",
      "sliding_window",
      "use_sliding_window", "layer_types", "max_window_layers", "dtype", "torch_dtype", "eos_token_id", "bos_token_id",
      "hidden_act", "partial_rotary_factor", "quantization_config",
    ]
    var accepted = 0
    for _ in 0..<20_000 {
      let model = Fixture.models.randomElement(using: &random) ?? "qwen2"
      var object = try #require(try Self.parsed(model).object)
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        object[keys.randomElement(using: &random) ?? ""] = values.randomElement(using: &random)
      }
      guard let found = try? ModelConfiguration(.object(object), file: "c") else { continue }
      accepted += 1
      #expect(found.headCount % found.keyValueHeadCount == 0 && found.headDim % 2 == 0, "seed \(seed)")
      #expect(found.windows.count == found.layerCount && found.contextTokens > 0, "seed \(seed)")
      #expect(found.rotary.dimensions > 0 && found.rotary.dimensions <= found.headDim, "seed \(seed)")
      var rotary = RotaryEmbedding(found.rotary)
      var row = [Float](repeating: 0, count: 2 * rotary.pairCount)
      row.withUnsafeMutableBufferPointer { row in
        guard let base = row.baseAddress else { return }
        rotary.row(position: 3, promptTokens: 2, cosines: base, sines: base + rotary.pairCount)
      }
      let isFinite = row.allSatisfy { $0.isFinite }
      #expect(isFinite, "seed \(seed)")
      _ = try? GenerationDefaults(.object(object), configuration: found, file: "g")
    }
    #expect(accepted > 0, "seed \(seed)")
  }

  private static func parsed(_ model: String) throws -> JSON {
    try #require(try Fixture.files(model).json("config.json"))
  }

  @Test func `generation defaults are read, checked and overridden`() throws {
    let configuration = try ModelConfiguration(Fixture.story)
    let defaults = try GenerationDefaults(Fixture.story, configuration: configuration)
    #expect(defaults.endTokens == [0, 2])
    #expect(defaults.sampling == ["temperature": 0.8, "top_p": 0.95, "top_k": 50, "max_new_tokens": 512])
    let without = try GenerationDefaults(Fixture.story, configuration: configuration, usesFile: false)
    #expect(without.endTokens == [0, 2] && without.sampling.isEmpty)
    let changed = try GenerationDefaults(
      Fixture.story, configuration: configuration, overrides: ["temperature": 0.5, "eos_token_id": 7])
    #expect(changed.endTokens == [7] && changed.sampling["temperature"] == 0.5)
    let error = #expect(throws: ModelFileError.self) {
      try GenerationDefaults(["temperature": 3], configuration: configuration, file: "generation_config.json")
    }
    #expect(error?.reason.contains("temperature must be a number between") == true)
  }

  @Test func `the table of supported models has a line for each family and each architecture once`() {
    let table = ModelFamily.table
    #expect(table.split(separator: "\n").count == ModelFamily.all.count + 2)
    for name in ModelFamily.architectureNames { #expect(table.contains("`\(name)`")) }
    #expect(Set(ModelFamily.architectureNames).count == ModelFamily.architectureNames.count)
  }
}
