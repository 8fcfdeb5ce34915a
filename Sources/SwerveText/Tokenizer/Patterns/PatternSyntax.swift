// Patterns: regular expressions that tokenizers split and replace with, and hand-written scanners for the common ones.
// This room must not know vocabularies. Start with Pattern.

/// A set of characters as an expression, decided character by character.
indirect enum CharacterSet: Sendable {
  case range(ClosedRange<UInt32>)
  /// General categories as a bit mask.
  case categories(UInt32)
  /// A flag of `CharacterProperties`, by its bit.
  case flag(UInt32)
  case union([CharacterSet])
  case intersection([CharacterSet])
  case inverted(CharacterSet)
  /// Any character that equals one of the set when case is ignored.
  case anyCase(CharacterSet)

  func contains(_ scalar: UInt32) -> Bool {
    switch self {
    case .range(let range): range.contains(scalar)
    case .categories(let mask): CharacterProperties(scalar).category.mask & mask != 0
    case .flag(let bit): CharacterProperties(scalar).word & bit != 0
    case .union(let sets): sets.contains { $0.contains(scalar) }
    case .intersection(let sets): sets.allSatisfy { $0.contains(scalar) }
    case .inverted(let set): !set.contains(scalar)
    case .anyCase(let set): set.contains(scalar) || LetterCase.variants(of: scalar).contains { set.contains($0) }
    }
  }
}

/// A parsed pattern.
indirect enum PatternNode: Sendable {
  case empty
  case scalar(UInt32)
  case set(CharacterSet)
  case sequence([PatternNode])
  case choice([PatternNode])
  /// `maximum` nil: no limit.
  case repeated(PatternNode, minimum: Int, maximum: Int?, kind: Repetition)
  case atomic(PatternNode)
  case look(PatternNode, isAhead: Bool, isNegative: Bool)
  case anchor(Anchor)

  enum Repetition: Sendable { case greedy, lazy, possessive }

  enum Anchor: Sendable { case textStart, textEnd, textEndOrNewline, lineStart, lineEnd, wordBoundary, notWordBoundary }

  /// Fewest and most characters that the node can match; nil for no limit.
  var width: (minimum: Int, maximum: Int?) {
    switch self {
    case .empty, .look, .anchor: return (0, 0)
    case .scalar, .set: return (1, 1)
    case .atomic(let node): return node.width
    case .sequence(let nodes):
      return nodes.reduce((0, 0)) { sum, node in
        let width = node.width
        return (Self.add(sum.0, width.minimum), sum.1.flatMap { a in width.maximum.map { Self.add(a, $0) } })
      }
    case .choice(let nodes):
      var low = Int.max
      var high: Int? = 0
      for node in nodes {
        let width = node.width
        low = min(low, width.minimum)
        high = high.flatMap { a in width.maximum.map { max(a, $0) } }
      }
      return (nodes.isEmpty ? 0 : low, high)
    case .repeated(let node, let minimum, let maximum, _):
      let width = node.width
      let high = maximum.flatMap { times in width.maximum.map { Self.multiply($0, times) } }
      return (Self.multiply(width.minimum, minimum), high)
    }
  }

  private static let widest = 1 << 30
  private static func add(_ a: Int, _ b: Int) -> Int { min(widest, a + b) }
  private static func multiply(_ a: Int, _ b: Int) -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? widest : min(widest, product)
  }
}

/// Why a pattern cannot be used: one sentence and the character it stumbled over.
struct PatternError: Error, Equatable, CustomStringConvertible {
  var reason: String
  var offset: Int

  var description: String { "\(reason) at character \(offset) of the pattern" }
}
