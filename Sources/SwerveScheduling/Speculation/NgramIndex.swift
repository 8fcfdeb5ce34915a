// Guessing tokens from what a sequence said before, and how far to trust the guess. Pure numbers: results never depend
// on anything here, because every guess is verified.
// Start with Drafts, which the scheduler asks; NgramIndex finds repetitions, Acceptance learns how often they hold.

package import SwerveCore

/// Finds where the last tokens of a sequence occurred before: hash chains over its runs of `minimum` tokens, as
/// compressors keep them, in a window that forgets the oldest tokens.
///
/// Appending is O(1); a look-up compares at most `candidates` earlier places, newest first. All memory is taken at `init`:
/// 12 to 16 bytes a token of the window.
package struct NgramIndex: Sendable {
  /// An earlier occurrence of the sequence's last tokens.
  package struct Match: Sendable, Hashable {
    /// Of the token that followed then.
    package var position: Int
    /// Last tokens that agree, as far as they were compared.
    package var length: Int

    package init(position: Int, length: Int) {
      self.position = position
      self.length = length
    }
  }

  package let minimum: Int
  package let maximum: Int
  /// Tokens appended so far.
  package private(set) var count = 0
  /// [window] the last tokens, at position modulo window.
  private var tokens: [TokenID]
  /// [window] for each position the one before it whose preceding `minimum` tokens have the same hash.
  private var links: [Int32]
  /// [buckets] the last position whose preceding tokens have that hash.
  private var heads: [Int32]
  private let mask: Int
  private let shift: UInt64

  /// Longest window: 64 Ki tokens, 1 MiB.
  package static let largestWindow = 1 << 16
  private static let candidates = 16
  private static let none: Int32 = -1

  /// - Parameters:
  ///   - minimum: tokens that must agree, ≥ 1. - maximum: tokens compared, ≥ `minimum`.
  ///   - capacity: tokens the sequence can get; more are taken and forget the oldest.
  package init(minimum: Int, maximum: Int, capacity: Int) {
    precondition(minimum >= 1 && maximum >= minimum, "a match has between 1 and \(maximum) tokens")
    self.minimum = minimum
    self.maximum = maximum
    var window = 64
    var bits: UInt64 = 6
    while window < min(capacity, Self.largestWindow) {
      window *= 2
      bits += 1
    }
    mask = window - 1
    shift = 64 - bits
    tokens = [TokenID](repeating: 0, count: window)
    links = [Int32](repeating: Self.none, count: window)
    heads = [Int32](repeating: Self.none, count: window)
  }

  /// The token at a position within the window.
  package subscript(position: Int) -> TokenID { tokens[position & mask] }

  /// First position still in the window.
  private var oldest: Int { max(0, count - mask - 1) }

  package mutating func append(_ token: TokenID) {
    if count >= minimum {
      let bucket = self.bucket
      links[count & mask] = heads[bucket]
      heads[bucket] = Int32(truncatingIfNeeded: count)
    }
    tokens[count & mask] = token
    count += 1
  }

  /// The longest earlier occurrence of the last tokens among those looked at, the newest of equals; nil without one of
  /// `minimum` tokens.
  package func longestMatch() -> Match? {
    guard count >= minimum else { return nil }
    var best: Match?
    var at = Int(heads[bucket])
    for _ in 0..<Self.candidates {
      // A chain leads to older positions; what it says beyond the window was overwritten.
      guard at >= oldest, at >= minimum else { break }
      let length = agreement(before: at)
      if length >= minimum && length > best?.length ?? 0 {
        best = Match(position: at, length: length)
        if length == maximum { break }
      }
      let next = Int(links[at & mask])
      guard next < at else { break }
      at = next
    }
    return best
  }

  /// How many tokens before `position` equal the last ones, at most `maximum`.
  private func agreement(before position: Int) -> Int {
    let most = min(maximum, position - oldest)
    var length = 0
    while length < most && self[position - 1 - length] == self[count - 1 - length] { length += 1 }
    return length
  }

  /// Where the last `minimum` tokens hash to.
  private var bucket: Int {
    var hash: UInt64 = 0
    for offset in 1...minimum {
      hash = (hash ^ UInt64(UInt32(bitPattern: self[count - offset].rawValue))) &* 0x9E37_79B9_7F4A_7C15 &+ 1
      hash ^= hash >> 29
    }
    return Int(truncatingIfNeeded: (hash &* 0xBF58_476D_1CE4_E5B9) >> shift)
  }
}
