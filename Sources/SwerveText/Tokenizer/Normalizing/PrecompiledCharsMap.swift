/// SentencePiece's compiled normalisation rules: a double-array trie from byte strings to replacements.
///
/// Layout: the trie's size in bytes as little-endian UInt32, the trie's units of four bytes, then the replacements, each
/// ended by a zero byte. A unit holds a label (low 8 bits), a leaf mark (bit 8), an offset (bits 10-30, shifted by 8 more
/// where bit 9 is set); a value unit has its value in bits 0-30.
struct PrecompiledCharsMap: Sendable {
  private let units: [UInt32]
  private let replacements: [UInt8]
  /// What each ASCII character becomes alone; nil where it stays.
  private let ascii: [[UInt8]?]
  private let changesASCII: Bool

  /// Reads the blob. Throws a sentence without the file's name.
  init(blob: [UInt8]) throws(PatternError) {
    guard blob.count >= 4 else { throw PatternError(reason: "the charsmap has no header", offset: 0) }
    let size = Self.word(blob, 0)
    guard size % 4 == 0, Int(size) <= blob.count - 4 else {
      throw PatternError(reason: "the charsmap's trie is longer than the charsmap", offset: 0)
    }
    units = (0..<Int(size) / 4).map { Self.word(blob, 4 + 4 * $0) }
    replacements = Array(blob[(4 + Int(size))...])
    var table: [[UInt8]?] = []
    let (units, replacements) = (units, replacements)
    for byte in UInt8(0)..<128 {
      let one = [byte]
      let found = one.withUnsafeBufferPointer { Self.longest(units, $0, 0, exact: true) }
      table.append(found.map { Self.replacement(replacements, $0.value) })
    }
    ascii = table
    changesASCII = table.contains { $0 != nil }
  }

  private static func word(_ blob: [UInt8], _ place: Int) -> UInt32 {
    UInt32(blob[place]) | UInt32(blob[place + 1]) << 8 | UInt32(blob[place + 2]) << 16 | UInt32(blob[place + 3]) << 24
  }

  /// Walks the trie from `start`: the shortest rule's value if `exact` asks for the reference's "first prefix", else the
  /// longest rule with its length.
  private static func longest(_ units: [UInt32], _ text: Bytes, _ start: Int, exact: Bool) -> (value: Int, length: Int)?
  {
    guard !units.isEmpty else { return nil }
    func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & (1 << 9)) >> 6)) }
    var node = offset(units[0])
    var found: (Int, Int)?
    var place = start
    while place < text.count {
      let byte = text[place]
      // A label of zero is the mark of a value, never of text.
      guard byte != 0 else { break }
      node ^= Int(byte)
      guard node < units.count else { break }
      let unit = units[node]
      guard unit & 0x8000_00FF == UInt32(byte) else { break }
      node ^= offset(unit)
      place += 1
      if unit >> 8 & 1 == 1 {
        guard node < units.count else { break }
        found = (Int(units[node] & 0x7FFF_FFFF), place - start)
        if exact { break }
      }
    }
    return found
  }

  private static func replacement(_ replacements: [UInt8], _ start: Int) -> [UInt8] {
    guard start < replacements.count else { return [] }
    var end = start
    while end < replacements.count, replacements[end] != 0 { end += 1 }
    return Array(replacements[start..<end])
  }

  /// The longest rule at `place`, for SentencePiece's own normaliser: replacement and bytes consumed.
  func rule(in text: Bytes, at place: Int) -> (replacement: [UInt8], length: Int)? {
    let byte = text[place]
    if byte < 0x80, place + 1 == text.count || text[place + 1] < 0x80, ascii[Int(byte)] == nil { return nil }
    guard let found = Self.longest(units, text, place, exact: false) else { return nil }
    return (Self.replacement(replacements, found.value), found.length)
  }

  /// The reference library's way: a user-perceived character of fewer than six bytes is looked up whole, else each of its
  /// scalars; a look-up answers the shortest rule that begins the text looked up.
  func normalize(_ text: Bytes) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var place = 0
    while place < text.count {
      let byte = text[place]
      let nextIsPlain = place + 1 == text.count || text[place + 1] < 0x80
      if byte < 0x80, nextIsPlain, byte != 13 {
        if changesASCII, let replacement = ascii[Int(byte)] {
          out.append(contentsOf: replacement)
        } else {
          out.append(byte)
        }
        place += 1
        continue
      }
      // Up to the next place where a plain character is followed by another: there no cluster can reach across.
      var end = place
      repeat { end += 1 } while end < text.count && !(text[end] < 0x80 && text[end] != 10 && text[end] != 13)
      normalizeClusters(text.slice(place, end), into: &out)
      place = end
    }
    return out
  }

  private func normalizeClusters(_ text: Bytes, into out: inout [UInt8]) {
    for character in String(decoding: text, as: UTF8.self) {
      let cluster = Array(character.utf8)
      if cluster.count < 6, let whole = lookUp(cluster) {
        out.append(contentsOf: whole)
        continue
      }
      for scalar in character.unicodeScalars {
        let bytes = Array(String(scalar).utf8)
        out.append(contentsOf: lookUp(bytes) ?? bytes)
      }
    }
  }

  private func lookUp(_ bytes: [UInt8]) -> [UInt8]? {
    bytes.withUnsafeBufferPointer { Self.longest(units, $0, 0, exact: true) }.map {
      Self.replacement(replacements, $0.value)
    }
  }
}
