/// A pre-tokenizer of `tokenizer.json`.
indirect enum PreTokenizer: Sendable {
  case sequence([PreTokenizer])
  case split(Pattern, SplitBehavior, isInverted: Bool)
  /// Maps bytes to GPT-2's alphabet; `pattern` nil where another step splits.
  case byteLevel(addsPrefixSpace: Bool, pattern: Pattern?)
  case metaspace(Metaspace)
  case bert
  case whitespace
  case whitespaceSplit
  case punctuation(SplitBehavior)
  case digits(isIndividual: Bool)
  case character(UInt32)
  case scripts
  case fixedLength(Int)

  /// Splits the pieces further, rewriting their bytes where the pre-tokenizer does.
  func apply(to list: inout PieceList) {
    switch self {
    case .sequence(let steps): for step in steps { step.apply(to: &list) }
    case .byteLevel(let addsPrefixSpace, let pattern):
      Self.splitBytes(&list, addsPrefixSpace: addsPrefixSpace, pattern: pattern)
      list.map { piece, _, out in out.append(contentsOf: ByteAlphabet.encode(piece)) }
    case .metaspace(let metaspace): metaspace.apply(to: &list)
    case .split(let pattern, let behavior, let isInverted):
      list.split { behavior.split(count: $0.count, at: pattern.matches(in: $0), isInverted: isInverted) }
    case .bert:
      Self.splitScalars(&list, .removed) { CharacterProperties($0).has(.whitespace) }
      Self.splitScalars(&list, .isolated) { CharacterProperties($0).has(.punctuation) }
    case .whitespace: list.split(Self.whitespaceWords)
    case .whitespaceSplit: Self.splitScalars(&list, .removed) { CharacterProperties($0).has(.whitespace) }
    case .punctuation(let behavior): Self.splitScalars(&list, behavior) { CharacterProperties($0).has(.punctuation) }
    case .digits(let isIndividual):
      Self.splitScalars(&list, isIndividual ? .isolated : .contiguous) { CharacterProperties($0).has(.numeric) }
    case .character(let wanted): Self.splitScalars(&list, .removed) { $0 == wanted }
    case .scripts: list.split(Self.scriptRuns)
    case .fixedLength(let length): list.split { Self.chunks($0, length) }
    }
  }

  /// The splitting half of `byteLevel`, without the change of alphabet.
  static func splitBytes(_ list: inout PieceList, addsPrefixSpace: Bool, pattern: Pattern?) {
    if addsPrefixSpace, list.pieces.contains(where: { list.text[$0.start] != 0x20 }) {
      list.map { piece, _, out in
        if piece.first != 0x20 { out.append(0x20) }
        out.append(contentsOf: piece)
      }
    }
    if let pattern {
      list.split { SplitBehavior.isolated.split(count: $0.count, at: pattern.matches(in: $0)) }
    }
  }

  private static func splitScalars(_ list: inout PieceList, _ behavior: SplitBehavior, _ isMatch: (UInt32) -> Bool) {
    list.split { text in
      var matches: [Range<Int>] = []
      var place = 0
      while place < text.count {
        let scalar = text.scalar(at: place)
        if isMatch(scalar.value) { matches.append(place..<place + scalar.length) }
        place += scalar.length
      }
      return behavior.split(count: text.count, at: matches)
    }
  }

  /// `\w+|[^\w\s]+`, everything else dropped.
  private static func whitespaceWords(_ text: Bytes) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    func kind(_ scalar: UInt32) -> Int {
      let properties = CharacterProperties(scalar)
      return properties.has(.whitespaceWord) ? 1 : properties.has(.whitespace) ? 0 : 2
    }
    var start = 0
    var current = 0
    var place = 0
    while place < text.count {
      let scalar = text.scalar(at: place)
      let next = kind(scalar.value)
      if next != current {
        if current != 0 { parts.append(start..<place) }
        start = place
        current = next
      }
      place += scalar.length
    }
    if current != 0 { parts.append(start..<place) }
    return parts
  }

  /// Runs of one script. Characters of no script join either side; those before the first script are dropped, as the
  /// reference library does.
  private static func scriptRuns(_ text: Bytes) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var start: Int?
    var last: UInt8 = 0
    var place = 0
    while place < text.count {
      let scalar = text.scalar(at: place)
      let script = Scripts.splitClass(of: scalar.value)
      if script != 0 {
        if script != last {
          if let start { parts.append(start..<place) }
          start = place
        }
        last = script
      }
      place += scalar.length
    }
    if let start { parts.append(start..<text.count) }
    return parts
  }

  private static func chunks(_ text: Bytes, _ length: Int) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var start = 0
    var place = 0
    var count = 0
    while place < text.count {
      place += text.scalar(at: place).length
      count += 1
      if count == length || place == text.count {
        parts.append(start..<place)
        start = place
        count = 0
      }
    }
    return parts
  }
}

/// SentencePiece's visible space: spaces become `▁`, one is put in front, and words begin at each.
struct Metaspace: Sendable {
  enum PrependScheme: String, Sendable {
    case always, first, never
  }

  var replacement: [UInt8] = [0xE2, 0x96, 0x81]
  var prepends: PrependScheme = .always
  var splits = true

  func apply(to list: inout PieceList) {
    list.map { piece, info, out in
      let startsMarked = piece.starts(with: replacement, at: 0) || piece.first == 0x20
      if !startsMarked, prepends == .always || (prepends == .first && info.isTextStart) {
        out.append(contentsOf: replacement)
      }
      for byte in piece {
        if byte == 0x20 { out.append(contentsOf: replacement) } else { out.append(byte) }
      }
    }
    guard splits else { return }
    let pattern = Pattern.literal(replacement)
    list.split { SplitBehavior.mergedWithNext.split(count: $0.count, at: pattern.matches(in: $0)) }
  }
}
