/// Cuts normalised text into words and hands them to the model; knows the short ways for common tokenizers.
struct WordSplitter: Sendable {
  private enum Way: Sendable {
    /// One scanner over raw bytes.
    case scanner(SplitScanner, addsPrefixSpace: Bool)
    /// Words begin at a visible space behind another character: no merge crosses that border.
    case markedWords
    case whole
    case pieces(PreTokenizer)
    /// The last step maps to GPT-2's alphabet, but the model works on raw bytes and needs no mapping.
    case rawPieces([PreTokenizer], addsPrefixSpace: Bool, pattern: Pattern?)
  }

  private let way: Way

  init(preTokenizer: PreTokenizer?, model: TokenModel) {
    guard let preTokenizer else {
      way = Self.bordersAreSafe(model) ? .markedWords : .whole
      return
    }
    var isRaw = false
    if case .bytePairs(let pairs) = model { isRaw = pairs.alphabet == .bytes }
    guard isRaw, case .byteLevel(let addsSpace, let pattern)? = preTokenizer.steps.last else {
      way = .pieces(preTokenizer)
      return
    }
    let before = Array(preTokenizer.steps.dropLast())
    if before.isEmpty, case .scanner(let scanner)? = pattern {
      way = .scanner(scanner, addsPrefixSpace: addsSpace)
    } else if before.count == 1, pattern == nil, !addsSpace,
      case .split(.scanner(let scanner), .isolated, isInverted: _) = before[0]
    {
      way = .scanner(scanner, addsPrefixSpace: false)
    } else {
      way = .rawPieces(before, addsPrefixSpace: addsSpace, pattern: pattern)
    }
  }

  private static let mark: [UInt8] = [0xE2, 0x96, 0x81]

  /// Whether every piece of the vocabulary has its visible spaces in front only, so that words can be merged alone.
  private static func bordersAreSafe(_ model: TokenModel) -> Bool {
    guard case .bytePairs(let pairs) = model, pairs.alphabet == .characters, !pairs.ignoresMerges,
      pairs.continuingPrefix.isEmpty, pairs.endSuffix.isEmpty, pairs.vocabulary.id(of: mark) >= 0
    else { return false }
    for id in 0..<pairs.vocabulary.idLimit {
      let isSafe = pairs.vocabulary.withBytes(of: id) { piece in
        var place = 0
        while piece.starts(with: mark, at: place) { place += 3 }
        while place < piece.count {
          if piece[place] == 0xE2, piece.starts(with: mark, at: place) { return false }
          place += 1
        }
        return true
      }
      if !isSafe { return false }
    }
    return true
  }

  /// Appends the ids of a stretch of normalised text.
  func encode(
    _ text: Bytes, isTextStart: Bool, model: TokenModel, scratch: inout EncodingScratch, into out: inout [Int32]
  ) {
    if text.isEmpty { return }
    switch way {
    case .scanner(let scanner, let addsPrefixSpace):
      if addsPrefixSpace, text[0] != 0x20 {
        let spaced = [0x20] + Array(text)
        spaced.withUnsafeBufferPointer { Self.scan($0, scanner, model, &scratch, &out) }
      } else {
        Self.scan(text, scanner, model, &scratch, &out)
      }
    case .markedWords: Self.encodeMarkedWords(text, model, &scratch, &out)
    case .whole: model.encode(text, 0, text.count, scratch: &scratch, into: &out)
    case .pieces(let preTokenizer):
      var list = Self.list(text, isTextStart)
      preTokenizer.apply(to: &list)
      Self.encode(list, model, &scratch, &out)
    case .rawPieces(let steps, let addsPrefixSpace, let pattern):
      var list = Self.list(text, isTextStart)
      for step in steps { step.apply(to: &list) }
      PreTokenizer.splitBytes(&list, addsPrefixSpace: addsPrefixSpace, pattern: pattern)
      Self.encode(list, model, &scratch, &out)
    }
  }

  private static func list(_ text: Bytes, _ isTextStart: Bool) -> PieceList {
    PieceList(text: Array(text), pieces: [Piece(start: 0, end: text.count, isTextStart: isTextStart)])
  }

  private static func encode(
    _ list: PieceList, _ model: TokenModel, _ scratch: inout EncodingScratch, _ out: inout [Int32]
  ) {
    list.text.withUnsafeBufferPointer { text in
      for piece in list.pieces { model.encode(text, piece.start, piece.end, scratch: &scratch, into: &out) }
    }
  }

  private static func scan(
    _ text: Bytes, _ scanner: SplitScanner, _ model: TokenModel, _ scratch: inout EncodingScratch,
    _ out: inout [Int32]
  ) {
    var start = 0
    while start < text.count {
      let end = scanner.end(of: text, from: start)
      model.encode(text, start, end, scratch: &scratch, into: &out)
      start = end
    }
  }

  private static func encodeMarkedWords(
    _ text: Bytes, _ model: TokenModel, _ scratch: inout EncodingScratch, _ out: inout [Int32]
  ) {
    var start = 0
    var place = 0
    while place < text.count {
      // Marks in front belong to the word.
      while place + 2 < text.count, text[place] == 0xE2, text[place + 1] == 0x96, text[place + 2] == 0x81 { place += 3 }
      while place < text.count {
        if text[place] == 0xE2, place + 2 < text.count, text[place + 1] == 0x96, text[place + 2] == 0x81 { break }
        place += 1
      }
      model.encode(text, start, place, scratch: &scratch, into: &out)
      start = place
    }
  }
}

extension PreTokenizer {
  /// The steps in order, nested sequences opened.
  var steps: [PreTokenizer] {
    if case .sequence(let steps) = self { steps.flatMap(\.steps) } else { [self] }
  }
}
