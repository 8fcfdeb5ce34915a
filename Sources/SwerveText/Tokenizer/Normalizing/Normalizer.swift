// Normalising: what a tokenizer does to text before it splits it.
// This room must not know tokens. Start with Normalizer.

/// A normaliser of `tokenizer.json`.
indirect enum Normalizer: Sendable {
  case sequence([Normalizer])
  case form(NormalForm)
  case lowercase
  case prepend([UInt8])
  case replace(Pattern, [UInt8])
  case strip(left: Bool, right: Bool)
  case stripAccents
  case nmt
  case byteLevel
  case bert(BertNormalizer)
  case precompiled(PrecompiledCharsMap)
  case sentencePiece(SentencePieceNormalizer)

  /// Replaces `text` with its normal form.
  func normalize(_ text: inout [UInt8]) {
    if let changed = text.withUnsafeBufferPointer({ normalized($0) }) { text = changed }
  }

  /// The normalised text, or nil where it is unchanged.
  func normalized(_ text: Bytes) -> [UInt8]? {
    switch self {
    case .sequence(let steps):
      var current: [UInt8]?
      for step in steps {
        let next = current.map { $0.withUnsafeBufferPointer { step.normalized($0) } } ?? step.normalized(text)
        if let next { current = next }
      }
      return current
    case .form(let form): return form.normalize(text)
    case .lowercase: return LetterCase.lowercase(text)
    case .prepend(let prefix): return text.isEmpty ? nil : prefix + text
    case .replace(let pattern, let content): return Self.replace(pattern, with: content, in: text)
    case .strip(let left, let right): return Self.strip(text, left: left, right: right)
    case .stripAccents: return text.isASCII ? nil : Self.filter(text) { !CharacterProperties($0).has(.mark) }
    case .nmt: return Self.nmt(text)
    case .byteLevel: return ByteAlphabet.encode(text)
    case .bert(let bert): return bert.normalize(text)
    case .precompiled(let map): return map.normalize(text)
    case .sentencePiece(let rules): return rules.normalize(text)
    }
  }

  private static func replace(_ pattern: Pattern, with content: [UInt8], in text: Bytes) -> [UInt8]? {
    var out: [UInt8] = []
    var copied = 0
    var didMatch = false
    pattern.forEachMatch(in: text) { match in
      if !didMatch { out.reserveCapacity(text.count + text.count / 2) }
      didMatch = true
      out.append(contentsOf: text[copied..<match.lowerBound])
      out.append(contentsOf: content)
      copied = match.upperBound
    }
    guard didMatch else { return nil }
    out.append(contentsOf: text[copied...])
    return out
  }

  private static func strip(_ text: Bytes, left: Bool, right: Bool) -> [UInt8]? {
    var start = 0
    var end = text.count
    if left {
      while start < end {
        let scalar = text.scalar(at: start)
        guard CharacterProperties(scalar.value).has(.whitespace) else { break }
        start += scalar.length
      }
    }
    if right {
      while end > start, CharacterProperties(text.scalar(before: end)).has(.whitespace) {
        end = text.scalarStart(before: end)
      }
    }
    return end - start == text.count ? nil : Array(text[start..<end])
  }

  static func filter(_ text: Bytes, _ keeps: (UInt32) -> Bool) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var place = 0
    while place < text.count {
      let scalar = text.scalar(at: place)
      if keeps(scalar.value) { out.append(contentsOf: text[place..<place + scalar.length]) }
      place += scalar.length
    }
    return out
  }

  /// Drops control characters and turns every kind of space into a plain one, as machine translation corpora do.
  private static func nmt(_ text: Bytes) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var place = 0
    while place < text.count {
      let scalar = text.scalar(at: place)
      switch scalar.value {
      case 1...8, 0xB, 0xE...0x1F, 0x7F, 0x8F, 0x9F: break
      case 9, 10, 12, 13, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: out.append(0x20)
      default: out.append(contentsOf: text[place..<place + scalar.length])
      }
      place += scalar.length
    }
    return out
  }
}

/// Bert's cleaning of text (https://arxiv.org/abs/1810.04805, reference implementation `BasicTokenizer`).
struct BertNormalizer: Sendable {
  var cleansText: Bool
  var spacesChinese: Bool
  var stripsAccents: Bool
  var lowercases: Bool

  func normalize(_ text: Bytes) -> [UInt8] {
    var out = cleansText || spacesChinese ? clean(text) : Array(text)
    if stripsAccents, !out.withUnsafeBufferPointer({ $0.isASCII }) {
      if let decomposed = out.withUnsafeBufferPointer({ NormalForm.nfd.normalize($0) }) { out = decomposed }
      out = out.withUnsafeBufferPointer { bytes in
        Normalizer.filter(bytes) { $0 < 0x80 || !CharacterProperties($0).has(.nonspacing) }
      }
    }
    return lowercases ? out.withUnsafeBufferPointer { LetterCase.lowercase($0) } : out
  }

  private func clean(_ text: Bytes) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 8)
    var place = 0
    while place < text.count {
      let scalar = text.scalar(at: place)
      let end = place + scalar.length
      let properties = CharacterProperties(scalar.value)
      if cleansText {
        if scalar.value == 0xFFFD || scalar.value == 0 || properties.has(.other) {
          place = end
          continue
        }
        if properties.has(.whitespace) {
          out.append(0x20)
          place = end
          continue
        }
      }
      if spacesChinese, properties.has(.cjk) {
        out.append(0x20)
        out.append(contentsOf: text[place..<end])
        out.append(0x20)
      } else {
        out.append(contentsOf: text[place..<end])
      }
      place = end
    }
    return out
  }
}
