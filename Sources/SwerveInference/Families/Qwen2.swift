extension ModelFamily {
  /// Llama's block with biases on query, key and value.
  package static let qwen2 = {
    var family = ModelFamily(
      name: "Qwen2", modelType: "qwen2", architectures: ["Qwen2ForCausalLM"],
      notes: "sliding window on the upper layers where configured",
      examples: ["Qwen2", "Qwen2.5", "Qwen2.5-Coder", "QwQ"])
    family.attentionBias = .queryKeyValue
    family.window = .upperLayers
    family.defaults.contextTokens = 32_768
    family.defaults.keyValueHeads = 32
    family.defaults.slidingWindow = 4096
    return family
  }()
}
