import SwerveCore

/// The stages that change a row of logits before temperature, in their order.
enum Processors {
  /// - Parameter scratch: [vocabulary]
  static func apply(_ slot: borrowing SamplerSlot, to logits: LogitsRow, scratch: UnsafeMutableBufferPointer<Float>) {
    let params = slot.sampling.params
    if let allowed = slot.allowed { AllowedTokens.apply(allowed, to: logits, scratch: scratch) }
    if !slot.bias.isEmpty { LogitBias.apply(slot.bias, to: logits) }
    if !slot.sampling.badWordTokens.isEmpty {
      BadWords.apply(slot.sampling.badWordTokens, generated: slot.generated, to: logits)
    }
    if slot.generatedTokens < params.minTokens { MinTokens.apply(slot.sampling.terminators, to: logits) }
    if let counts = slot.counts {
      Penalties.apply(
        counts, repetition: params.repetitionPenalty, frequency: params.frequencyPenalty,
        presence: params.presencePenalty, to: logits)
    }
  }
}
