// Splitting: how a tokenizer cuts text into the words that its model sees.
// This room must not know vocabularies. Start with PreTokenizer.

/// A word as a range of bytes in a `PieceList`'s text.
struct Piece: Sendable {
  var start: Int
  var end: Int
  /// Whether the word begins where the whole text begins; some pre-tokenizers treat that word alone differently.
  var isTextStart: Bool

  var isEmpty: Bool { start == end }
}

/// The words of a stretch of text at some stage of splitting, in order, with the bytes they point into.
struct PieceList {
  var text: [UInt8]
  var pieces: [Piece]

  /// Cuts every piece into those parts that `cut` answers. Empty parts are dropped.
  mutating func split(_ cut: (Bytes) -> [Range<Int>]) {
    var parts: [Piece] = []
    let whole = pieces
    parts.reserveCapacity(whole.count * 2)
    text.withUnsafeBufferPointer { bytes in
      for piece in whole {
        for range in cut(bytes.slice(piece.start, piece.end)) where !range.isEmpty {
          parts.append(
            Piece(
              start: piece.start + range.lowerBound, end: piece.start + range.upperBound,
              isTextStart: piece.isTextStart && range.lowerBound == 0))
        }
      }
    }
    pieces = parts
  }

  /// Rewrites every piece; `change` appends the new bytes.
  mutating func map(_ change: (Bytes, Piece, inout [UInt8]) -> Void) {
    var changed: [UInt8] = []
    var moved = pieces
    changed.reserveCapacity(text.count + text.count / 4 + moved.count)
    text.withUnsafeBufferPointer { bytes in
      for place in moved.indices {
        let start = changed.count
        change(bytes.slice(moved[place].start, moved[place].end), moved[place], &changed)
        moved[place].start = start
        moved[place].end = changed.count
      }
    }
    moved.removeAll { $0.isEmpty }
    (text, pieces) = (changed, moved)
  }
}

/// What becomes of the text that a split pattern matches.
enum SplitBehavior: String, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// Cuts a text of `count` bytes at `matches` (from left to right, without overlap). `isInverted` swaps matches and gaps.
  func split(count: Int, at matches: [Range<Int>], isInverted: Bool = false) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    parts.reserveCapacity(matches.count * 2 + 1)
    var last = 0
    var previousWasMatch = false
    func accept(_ range: Range<Int>, _ isMatch: Bool) {
      let joins =
        switch self {
        case .removed, .isolated: false
        case .contiguous: isMatch == previousWasMatch
        case .mergedWithPrevious: isMatch && !previousWasMatch
        case .mergedWithNext: previousWasMatch && !isMatch
        }
      if joins, let part = parts.last {
        parts[parts.count - 1] = part.lowerBound..<range.upperBound
      } else if self != .removed || !isMatch {
        parts.append(range)
      }
      previousWasMatch = isMatch
    }
    for match in matches {
      if last < match.lowerBound { accept(last..<match.lowerBound, isInverted) }
      accept(match, !isInverted)
      last = match.upperBound
    }
    if last < count { accept(last..<count, isInverted) }
    return parts
  }
}
