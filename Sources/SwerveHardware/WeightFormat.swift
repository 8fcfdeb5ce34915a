internal import CSwerveKernels
package import SwerveCore

/// How the numbers of a packed weight matrix are stored. What they are multiplied with, the activations, has its own
/// type: the run's.
///
/// Weight-only formats (`int8`, `int4`, `nf4`) hold small integers or levels that become the activations' type in
/// registers; scales multiply the f32 sums. `int8Dynamic` and `int4Dynamic` also round the activations, so that their
/// results are of a kind of their own.
package enum WeightFormat: Sendable, Hashable {
  /// As they are, in the activations' type.
  case plain(ElementType)
  /// Symmetric levels -127 ... 127, one f32 scale an output.
  case int8
  /// Symmetric levels -8 ... 7, one binary16 scale for each output and `group` inputs: 32, 64 or 128.
  case int4(group: Int)
  /// The 16 levels of NormalFloat (Dettmers et al. 2023, QLoRA) times the largest magnitude of `group` inputs of one
  /// output: 32, 64 or 128. The largest magnitude is kept in binary16.
  case nf4(group: Int)
  /// The levels of `int8`, and activations rounded to int8 with one scale a row: integer products (W8A8).
  case int8Dynamic
  /// The levels and scales of `int4`, and activations rounded to int8 with one scale a row: integer products within a group
  /// (W4A8).
  case int4Dynamic(group: Int)

  /// Group sizes of the 4-bit formats, largest first.
  package static let groupSizes = [128, 64, 32]

  /// Most inputs of an `int8Dynamic` matrix: their sums must fit 32 bits.
  package static let maximumDynamicInputs = 1 << 17

  /// The stable name, for flags, reports and files: "bfloat16", "int8", "int4-g128", "nf4-g64", "int8-dynamic",
  /// "int4-dynamic-g128".
  package var name: String {
    switch self {
    case .plain(let type): type.rawValue
    case .int8: "int8"
    case .int4(let group): "int4-g\(group)"
    case .nf4(let group): "nf4-g\(group)"
    case .int8Dynamic: "int8-dynamic"
    case .int4Dynamic(let group): "int4-dynamic-g\(group)"
    }
  }

  /// The format of a `name`; nil for any other text.
  package init?(name: String) {
    let groups = Self.groupSizes.flatMap { [Self.int4(group: $0), .nf4(group: $0), .int4Dynamic(group: $0)] }
    let all = ElementType.allCases.map { Self.plain($0) } + [.int8, .int8Dynamic] + groups
    guard let found = all.first(where: { $0.name == name }) else { return nil }
    self = found
  }

  /// Whether the numbers are stored in fewer bits than they were trained in.
  package var isQuantized: Bool {
    if case .plain = self { false } else { true }
  }

  /// Whether the activations are rounded too, a whole row at a time.
  package var roundsRows: Bool {
    switch self {
    case .int8Dynamic, .int4Dynamic: true
    case .plain, .int8, .int4, .nf4: false
    }
  }

  /// Inputs that share a scale; nil where a whole row does, or none.
  package var group: Int? {
    switch self {
    case .int4(let group), .nf4(let group), .int4Dynamic(let group): group
    case .plain, .int8, .int8Dynamic: nil
    }
  }
}

extension WeightFormat {
  /// The format's number in C.
  var kernelFormat: Int32 {
    let format =
      switch self {
      case .plain: SWERVE_PLAIN
      case .int8: SWERVE_INT8
      case .int4: SWERVE_INT4
      case .nf4: SWERVE_NF4
      case .int8Dynamic: SWERVE_INT8_DYNAMIC
      case .int4Dynamic: SWERVE_INT4_DYNAMIC
      }
    return Int32(format)
  }
}
