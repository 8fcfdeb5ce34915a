extension EngineConfiguration {
  /// What weights are rounded to while they are loaded. The output head, and an embedding tied to it, is kept at int8 by
  /// all of them; norms and biases stay as they are.
  public enum Quantization: String, Sendable, CaseIterable {
    case none
    /// Eight bits, one scale an output.
    case int8
    /// Four bits in even steps, one scale for each output and group of inputs.
    case int4
    /// Four bits in NormalFloat levels, one scale for each output and group of inputs.
    case nf4
    /// `int8`, and activations rounded to eight bits as well, one scale a token: whole-number products. Other results.
    case int8Dynamic = "int8-dynamic"
    /// `int4`, and activations rounded to eight bits, one scale a token: whole-number products within a group.
    case int4Dynamic = "int4-dynamic"

    /// Whether activations are rounded, whole tokens at a time.
    public var roundsActivations: Bool { self == .int8Dynamic || self == .int4Dynamic }

    /// Whether inputs share scales in groups.
    public var hasGroups: Bool { self == .int4 || self == .nf4 || self == .int4Dynamic }

    /// The method of a name that flags and other engines use, in any case: also `int8_per_channel_weight_only` and
    /// `bitsandbytes`; `null` and `auto` are none. nil for a method that does not exist here.
    public init?(method: String) {
      switch method.lowercased() {
      case "null", "auto": self = .none
      case "int8_per_channel_weight_only": self = .int8
      case "bitsandbytes": self = .nf4
      case let name:
        guard
          let known = Self.allCases.first(where: {
            [$0.rawValue, $0.rawValue.replacing("-", with: "_")].contains(name)
          })
        else { return nil }
        self = known
      }
    }

    /// The names, for messages.
    public static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
  }
}
