extension ModelFamily {
  /// Llama's block with an RMS norm on each head's query and key.
  package static let qwen3 = {
    var family = ModelFamily(
      name: "Qwen3", modelType: "qwen3", architectures: ["Qwen3ForCausalLM"],
      notes: "dense models; q/k norm, free head size", examples: ["Qwen3 0.6B…32B"])
    family.queryKeyNorm = true
    family.attentionBias = .configured("attention_bias")
    family.window = .upperLayers
    family.defaults.contextTokens = 32_768
    family.defaults.headDim = 128
    family.defaults.keyValueHeads = 32
    family.defaults.slidingWindow = 4096
    return family
  }()
}
