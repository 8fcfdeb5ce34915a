/// A split expression to be tried out: where it matches, with its scanner or by the general matcher. For tests and for
/// people who wonder where a tokenizer cuts.
package struct PatternProbe: Sendable {
  private let pattern: Pattern

  package init(_ expression: String, usesScanner: Bool = true) throws {
    pattern =
      usesScanner
      ? try Pattern(expression: expression) : .program(try PatternProgram(PatternParser.parse(expression)))
  }

  package var isScanner: Bool { if case .scanner = pattern { true } else { false } }

  /// The matches as ranges of UTF-8 bytes.
  package func matches(in text: String) -> [Range<Int>] {
    Array(text.utf8).withUnsafeBufferPointer { pattern.matches(in: $0) }
  }

  /// Every expression that has a scanner.
  package static let scannedExpressions = SplitScanner.expressions.map(\.0)
}
