extension ModelFamily {
  /// The plain block; `attention_bias` and `mlp_bias` of config.json add biases.
  package static let llama = {
    var family = ModelFamily(
      name: "Llama", modelType: "llama", architectures: ["LlamaForCausalLM", "LLaMAForCausalLM"],
      notes: "RoPE scalings linear, dynamic, llama3, yarn; biases; tied or untied embeddings",
      examples: ["Llama 2", "Llama 3.x", "TinyLlama", "SmolLM2"])
    family.attentionBias = .configured("attention_bias")
    family.mlpBias = .configured("mlp_bias")
    return family
  }()
}
