extension ModelFamily {
  /// Llama's block without biases; attention looks back over a sliding window where config.json gives one.
  package static let mistral = {
    var family = ModelFamily(
      name: "Mistral", modelType: "mistral", architectures: ["MistralForCausalLM"],
      notes: "sliding window on every layer where configured",
      examples: ["Mistral 7B", "Mistral Nemo", "Mistral Small"])
    family.window = .everyLayer
    family.defaults.contextTokens = 131_072
    family.defaults.keyValueHeads = 8
    family.defaults.slidingWindow = 4096
    return family
  }()
}
