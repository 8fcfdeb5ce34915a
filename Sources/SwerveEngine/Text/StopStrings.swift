// From tokens to the text a client sees: stop strings and the assembly of one choice's deltas. Tokenizers and templates
// themselves are the text room's. Start with ChoiceAssembly.

/// Watches one choice's text for stop strings, across any chunk borders.
///
/// While a stop string may still begin in the last characters, those characters are held back: `longest − 1` Unicode
/// scalars, so that nothing after a match was ever sent. With `keepsMatch` the matched string itself belongs to the
/// output and nothing needs to be held back. The earliest match wins; of matches at one place the first in the list.
package struct StopStrings {
  /// What became visible, and the stop string that ended the text.
  package struct Outcome: Equatable {
    package var visible: String
    package var match: String?

    package init(visible: String, match: String?) {
      self.visible = visible
      self.match = match
    }
  }

  private let stops: [[Unicode.Scalar]]
  private let names: [String]
  private let keepsMatch: Bool
  private let longest: Int
  /// Scalars not yet searched through or not yet released, oldest first.
  private var pending: [Unicode.Scalar] = []
  /// Of `pending`, how many were already released (only with `keepsMatch`, where they stay for the search).
  private var released = 0

  package init(_ stops: [String], keepsMatch: Bool) {
    self.names = stops
    self.stops = stops.map { Array($0.unicodeScalars) }
    self.keepsMatch = keepsMatch
    self.longest = self.stops.map(\.count).max() ?? 0
  }

  package var isEmpty: Bool { stops.isEmpty }

  /// Adds text. With `isChecking` false (before `minTokens`) the text passes and cannot take part in a match.
  package mutating func append(_ text: String, isChecking: Bool = true) -> Outcome {
    if stops.isEmpty { return Outcome(visible: text, match: nil) }
    if !isChecking {
      let visible = flush() + text
      return Outcome(visible: visible, match: nil)
    }
    pending.append(contentsOf: text.unicodeScalars)
    if let (start, which) = earliestMatch() {
      let end = keepsMatch ? start + stops[which].count : start
      let visible = Self.string(pending[min(released, end)..<end])
      pending.removeAll()
      released = 0
      return Outcome(visible: visible, match: names[which])
    }
    return Outcome(visible: release(keeping: longest - 1), match: nil)
  }

  /// The text held back, when the choice ends for another reason.
  package mutating func flush() -> String {
    defer {
      pending.removeAll()
      released = 0
    }
    return Self.string(pending[released...])
  }

  private mutating func release(keeping kept: Int) -> String {
    if keepsMatch {
      let visible = Self.string(pending[released...])
      let excess = max(0, pending.count - kept)
      pending.removeFirst(excess)
      released = pending.count
      return visible
    }
    let count = max(0, pending.count - kept)
    let visible = Self.string(pending[..<count])
    pending.removeFirst(count)
    return visible
  }

  private func earliestMatch() -> (start: Int, which: Int)? {
    for start in pending.indices {
      for (which, stop) in stops.enumerated()
      where start + stop.count <= pending.count && pending[start..<start + stop.count].elementsEqual(stop) {
        return (start, which)
      }
    }
    return nil
  }

  private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: scalars)
    return String(text)
  }
}
