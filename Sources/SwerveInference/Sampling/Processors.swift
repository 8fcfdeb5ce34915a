import SwerveCore

/// The stages that change a row of logits before temperature, in their order.
enum Processors {
  /// - Parameters:
  ///   - drafted: tokens that are taken to follow those the slot knows. - scratch: [vocabulary]
  static func apply(
    _ slot: borrowing SamplerSlot, drafted: DraftedTokens, to logits: LogitsRow,
    scratch: UnsafeMutableBufferPointer<Float>
  ) {
    let params = slot.sampling.params
    if let allowed = slot.allowed { AllowedTokens.apply(allowed, to: logits, scratch: scratch) }
    if !slot.bias.isEmpty { LogitBias.apply(slot.bias, to: logits) }
    if !slot.sampling.badWordTokens.isEmpty {
      BadWords.apply(slot.sampling.badWordTokens, generated: slot.generated, drafted: drafted, to: logits)
    }
    if slot.generatedTokens + drafted.count < params.minTokens {
      MinTokens.apply(slot.sampling.terminators, to: logits)
    }
    if let counts = slot.counts {
      let penalties = Penalties(
        repetition: params.repetitionPenalty, frequency: params.frequencyPenalty, presence: params.presencePenalty)
      penalties.apply(counts, drafted: drafted, to: logits)
    }
  }
}
