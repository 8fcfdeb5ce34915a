/// SentencePiece's normaliser: the longest rule at each place, then its rules for white space.
struct SentencePieceNormalizer: Sendable {
  var charsMap: PrecompiledCharsMap?
  var addsDummyPrefix = true
  var removesExtraSpaces = true
  var escapesSpaces = true
  /// The visible space ends words instead of beginning them.
  var spaceIsSuffix = false
  /// Pieces that no rule may change.
  private var userDefined = PieceTrie()
  private var hasUserDefined = false

  private static let mark: [UInt8] = [0xE2, 0x96, 0x81]

  mutating func add(userDefined piece: Bytes) {
    hasUserDefined = true
    userDefined.add(piece, value: 0)
  }

  func normalize(_ text: Bytes) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 2 + 3)
    var place = 0
    if removesExtraSpaces {
      while place < text.count {
        let next = prefix(text, place)
        guard next.bytes(in: text).elementsEqual([0x20]) else { break }
        place += next.length
      }
    }
    if place == text.count { return [] }
    let space = escapesSpaces ? Self.mark : [0x20]
    if addsDummyPrefix, !spaceIsSuffix { out.append(contentsOf: space) }
    var previousIsSpace = removesExtraSpaces
    while place < text.count {
      let next = prefix(text, place)
      place += next.length
      var isLeading = previousIsSpace
      for byte in next.bytes(in: text) {
        if byte == 0x20, isLeading { continue }
        isLeading = false
        if byte == 0x20 { out.append(contentsOf: space) } else { out.append(byte) }
        previousIsSpace = byte == 0x20
      }
      if !removesExtraSpaces { previousIsSpace = false }
    }
    if removesExtraSpaces {
      while !out.isEmpty, out.suffix(space.count).elementsEqual(space) { out.removeLast(space.count) }
    }
    if addsDummyPrefix, spaceIsSuffix { out.append(contentsOf: space) }
    return out
  }

  private func prefix(_ text: Bytes, _ place: Int) -> Prefix {
    if hasUserDefined, let found = userDefined.longest(in: text, from: place) {
      return Prefix(replacement: nil, start: place, length: found.length)
    }
    if let rule = charsMap?.rule(in: text, at: place) {
      return Prefix(replacement: rule.replacement, start: place, length: rule.length)
    }
    return Prefix(replacement: nil, start: place, length: text.scalar(at: place).length)
  }

  /// What the text at a place becomes, and how many bytes of it that takes.
  private struct Prefix {
    var replacement: [UInt8]?
    var start: Int
    var length: Int

    func bytes(in text: Bytes) -> ArraySlice<UInt8> {
      if let replacement { return replacement[...] }
      return ArraySlice(text[start..<start + length])
    }
  }
}

/// SentencePiece's way from pieces to text.
struct SentencePieceDecoder: Sendable {
  /// The space that the normaliser put in front is taken away again; all of them where it removed extra ones.
  var consumesLeadingSpace = true
  var consumesAllLeadingSpace = false
  /// Control pieces, which have no text, and the unknown piece with its text.
  var hidden: Set<[UInt8]> = []
  var unknown: [UInt8] = []
  var unknownSurface: [UInt8] = []

  private static let mark: [UInt8] = [0xE2, 0x96, 0x81]

  func decode(_ pieces: [[UInt8]]) -> [UInt8] {
    var out: [UInt8] = []
    var run: [UInt8] = []
    var isStart = true
    for piece in pieces {
      if let byte = Decoder.byte(of: piece) {
        run.append(byte)
        isStart = false
        continue
      }
      Self.appendRepaired(run, to: &out)
      run.removeAll(keepingCapacity: true)
      if hidden.contains(piece) { continue }
      if piece == unknown {
        out.append(contentsOf: unknownSurface)
        isStart = false
        continue
      }
      var text = piece[...]
      var sawSpace = false
      if isStart, consumesLeadingSpace, text.starts(with: Self.mark) {
        text = text.dropFirst(Self.mark.count)
        sawSpace = !consumesAllLeadingSpace
      }
      if sawSpace || !text.isEmpty { isStart = false }
      var surface = Array(text)
      Normalizer.replace(.literal(Self.mark), [0x20]).normalize(&surface)
      out.append(contentsOf: surface)
    }
    Self.appendRepaired(run, to: &out)
    return out
  }

  /// Broken UTF-8 as one U+FFFD a byte.
  private static func appendRepaired(_ bytes: [UInt8], to out: inout [UInt8]) {
    bytes.withUnsafeBufferPointer { bytes in
      var place = 0
      while place < bytes.count {
        let scalar = bytes.scalar(at: place)
        out.append(scalar: scalar.value)
        place += scalar.length
      }
    }
  }
}
