/// Logits are divided by the temperature. Values below 0.01 are raised to it: smaller ones overflow and mean greedy.
enum Temperature {
  static func effective(_ temperature: Float) -> Float { max(temperature, 0.01) }
}
