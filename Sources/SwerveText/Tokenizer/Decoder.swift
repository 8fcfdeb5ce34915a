/// A decoder of `tokenizer.json`: rewrites the list of pieces; the text is what remains of it, joined.
indirect enum Decoder: Sendable {
  case sequence([Decoder])
  case byteLevel
  case byteFallback
  case fuse
  case metaspace(Metaspace)
  case replace(Pattern, [UInt8])
  case strip(content: UInt32, start: Int, stop: Int)
  case wordPiece(prefix: [UInt8], cleansUp: Bool)
  case bytePairs(suffix: [UInt8])
  case ctc(pad: [UInt8], delimiter: [UInt8], cleansUp: Bool)
  case sentencePiece(SentencePieceDecoder)

  func apply(to pieces: inout [[UInt8]]) {
    switch self {
    case .sequence(let steps): for step in steps { step.apply(to: &pieces) }
    case .byteLevel: pieces = [Self.repaired(Self.joinBytes(pieces))]
    case .byteFallback: Self.fallBack(&pieces)
    case .fuse: pieces = [Array(pieces.joined())]
    case .metaspace(let metaspace): Self.spaces(&pieces, metaspace)
    case .replace(let pattern, let content):
      for place in pieces.indices { Normalizer.replace(pattern, content).normalize(&pieces[place]) }
    case .strip(let content, let start, let stop):
      for place in pieces.indices { pieces[place] = Self.strip(pieces[place], content, start, stop) }
    case .wordPiece(let prefix, let cleansUp): Self.joinWords(&pieces, prefix, cleansUp)
    case .bytePairs(let suffix):
      for place in pieces.indices {
        let content = place == pieces.count - 1 ? [] : [UInt8(ascii: " ")]
        Normalizer.replace(.literal(suffix), content).normalize(&pieces[place])
      }
    case .ctc(let pad, let delimiter, let cleansUp): Self.collapse(&pieces, pad, delimiter, cleansUp)
    case .sentencePiece(let decoder): pieces = [decoder.decode(pieces)]
    }
  }

  /// Broken UTF-8 as U+FFFD, one for each maximal part of a sequence.
  static func repaired(_ bytes: [UInt8]) -> [UInt8] {
    bytes.withUnsafeBufferPointer { $0.isASCII } ? bytes : Array(String(decoding: bytes, as: UTF8.self).utf8)
  }

  private static func joinBytes(_ pieces: [[UInt8]]) -> [UInt8] {
    var out: [UInt8] = []
    for piece in pieces {
      // A piece with a character outside the alphabet (an added token) stands for itself.
      let isMapped = piece.withUnsafeBufferPointer { ByteAlphabet.decode($0, into: &out) }
      if !isMapped { out.append(contentsOf: piece) }
    }
    return out
  }

  /// The byte that a piece such as `<0x0A>` stands for.
  static func byte(of piece: [UInt8]) -> UInt8? {
    guard piece.count == 6, piece[0] == 0x3C, piece[1] == 0x30, piece[2] == 0x78, piece[5] == 0x3E else { return nil }
    return UInt8(String(decoding: piece[3..<5], as: UTF8.self), radix: 16)
  }

  private static func fallBack(_ pieces: inout [[UInt8]]) {
    var out: [[UInt8]] = []
    out.reserveCapacity(pieces.count)
    var run: [UInt8] = []
    func flush() {
      if run.isEmpty { return }
      if String(validating: run, as: UTF8.self) != nil {
        out.append(run)
      } else {
        out.append(contentsOf: repeatElement([0xEF, 0xBF, 0xBD], count: run.count))
      }
      run.removeAll(keepingCapacity: true)
    }
    for piece in pieces {
      if let byte = byte(of: piece) {
        run.append(byte)
      } else {
        flush()
        out.append(piece)
      }
    }
    flush()
    pieces = out
  }

  private static func spaces(_ pieces: inout [[UInt8]], _ metaspace: Metaspace) {
    for place in pieces.indices {
      let dropsMark = place == 0 && metaspace.prepends != .never
      let pattern = Pattern.literal(metaspace.replacement)
      Normalizer.replace(pattern, dropsMark ? [] : [0x20]).normalize(&pieces[place])
    }
  }

  private static func strip(_ piece: [UInt8], _ content: UInt32, _ start: Int, _ stop: Int) -> [UInt8] {
    let scalars = piece.scalars
    var low = 0
    while low < min(start, scalars.count), scalars[low] == content { low += 1 }
    var high = scalars.count
    while scalars.count - high < stop, high > low, scalars[high - 1] == content { high -= 1 }
    if low == 0, high == scalars.count { return piece }
    var out: [UInt8] = []
    for scalar in scalars[low..<high] { out.append(scalar: scalar) }
    return out
  }

  private static func joinWords(_ pieces: inout [[UInt8]], _ prefix: [UInt8], _ cleansUp: Bool) {
    for place in pieces.indices {
      if place > 0 {
        if !prefix.isEmpty, pieces[place].starts(with: prefix) {
          pieces[place].removeFirst(prefix.count)
        } else {
          pieces[place].insert(0x20, at: 0)
        }
      }
      if cleansUp { cleanUp(&pieces[place]) }
    }
  }

  private static let cleanUps: [(Pattern, [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ].map { (Pattern(literal: $0.0), Array($0.1.utf8)) }

  private static func cleanUp(_ piece: inout [UInt8]) {
    for (pattern, content) in cleanUps { Normalizer.replace(pattern, content).normalize(&piece) }
  }

  private static func collapse(_ pieces: inout [[UInt8]], _ pad: [UInt8], _ delimiter: [UInt8], _ cleansUp: Bool) {
    var out: [[UInt8]] = []
    var last: [UInt8]?
    for piece in pieces where piece != last {
      last = piece
      var text = piece
      Normalizer.replace(.literal(pad), []).normalize(&text)
      if cleansUp {
        cleanUp(&text)
        Normalizer.replace(.literal(delimiter), [0x20]).normalize(&text)
      }
      if !text.isEmpty { out.append(text) }
    }
    pieces = out
  }
}
