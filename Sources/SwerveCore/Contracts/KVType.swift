/// How keys and values are stored in the cache.
///
/// The types of eight bits keep each token's numbers of a head as codes of one scale, the largest magnitude over the
/// largest code: what is stored depends on that token alone, so results stay independent of the batch. Their raw values
/// are vLLM's names.
public enum KVType: String, Sendable, Hashable, CaseIterable {
  case float32, bfloat16, float16
  /// -127 … 127 times the scale: off by at most half a step, 0.4 % of the largest number.
  case int8 = "int8_per_token_head"
  /// A sign, 4 bits of exponent, 3 of fraction, times the scale: off by at most 1/16 of each number.
  case fp8E4M3 = "fp8_e4m3"
  /// A sign, 5 bits of exponent, 2 of fraction, times the scale: off by at most 1/8 of each number.
  case fp8E5M2 = "fp8_e5m2"

  /// The type of the same name.
  public init(_ type: ElementType) {
    switch type {
    case .float32: self = .float32
    case .bfloat16: self = .bfloat16
    case .float16: self = .float16
    }
  }

  /// The type of a name that users write, whatever the case; nil for one that is none.
  public init?(name: String) {
    guard let type = Self.names[name.lowercased()] else { return nil }
    self = type
  }

  /// Every name a user may write. The short names of eight bits mean the same as the long ones: the scale always belongs
  /// to a token and a head.
  public static let names: [String: KVType] = [
    "float32": .float32, "fp32": .float32, "float": .float32, "bfloat16": .bfloat16, "bf16": .bfloat16,
    "float16": .float16, "fp16": .float16, "half": .float16, "int8": .int8, "int8_per_token_head": .int8,
    "fp8": .fp8E4M3, "fp8_e4m3": .fp8E4M3, "fp8_per_token_head": .fp8E4M3, "fp8_e5m2": .fp8E5M2,
  ]

  /// Bytes of one number, without its share of a scale.
  public var byteCount: Int {
    switch self {
    case .float32: 4
    case .bfloat16, .float16: 2
    case .int8, .fp8E4M3, .fp8E5M2: 1
    }
  }

  /// Whether numbers are codes with a scale.
  public var isScaled: Bool { byteCount == 1 }
}
