package import SwerveCore

/// How often each token of a sequence occurred, as the penalties need it: a flat hash table over the tokens seen, so
/// that a row costs what the sequence has, not what the vocabulary has.
///
/// `init` takes room for all the tokens the sequence can get; `add` then allocates nothing. Beyond that it grows.
package struct TokenCounts: Sendable {
  package struct Entry: Sendable {
    package var token: TokenID
    /// Occurrences among generated tokens.
    package var generated: Int32
  }

  /// Every token seen once or more, in order of first occurrence.
  package private(set) var entries: [Entry] = []
  /// Open addressing with linear probing; index into `entries`, −1 = empty. Power of two, at most half full.
  private var table: [Int32]

  package init(capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    table = [Int32](repeating: -1, count: size)
    entries.reserveCapacity(capacity)
  }

  /// Average O(1).
  package mutating func add(_ token: TokenID, isGenerated: Bool) {
    let place = find(token)
    if table[place] >= 0 {
      if isGenerated { entries[Int(table[place])].generated += 1 }
      return
    }
    table[place] = Int32(entries.count)
    entries.append(Entry(token: token, generated: isGenerated ? 1 : 0))
    if 2 * entries.count > table.count { grow() }
  }

  /// Occurrences of a token among generated ones. Average O(1).
  package func generated(_ token: TokenID) -> Int32 {
    let place = table[find(token)]
    return place < 0 ? 0 : entries[Int(place)].generated
  }

  private func find(_ token: TokenID) -> Int {
    let mask = table.count - 1
    var place = Int(truncatingIfNeeded: UInt32(bitPattern: token.rawValue) &* 0x9E37_79B1) & mask
    while table[place] >= 0, entries[Int(table[place])].token != token { place = (place + 1) & mask }
    return place
  }

  private mutating func grow() {
    table = [Int32](repeating: -1, count: 2 * table.count)
    for (index, entry) in entries.enumerated() { table[find(entry.token)] = Int32(index) }
  }
}
