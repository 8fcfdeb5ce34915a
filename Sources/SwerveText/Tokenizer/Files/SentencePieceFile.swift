/// Reads SentencePiece's `tokenizer.model` (sentencepiece_model.proto): byte pairs or unigram, with its own normaliser.
struct SentencePieceFile {
  enum Kind: UInt64 {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  private struct Piece {
    var bytes: Range<Int> = 0..<0
    var score: Float = 0
    var kind = Kind.normal
  }

  private let bytes: Bytes
  private var pieces: [Piece] = []
  private var modelType: UInt64 = 1
  private var fallsBackToBytes = false
  private var unknownID = 0
  private var bosID = 1
  private var eosID = 2
  private var unknownSurface: [UInt8] = Array(" \u{2047} ".utf8)
  private var rules = SentencePieceNormalizer()

  static func read(_ bytes: Bytes, config: TokenizerConfig) throws(ComponentError) -> TokenizerParts {
    var file = SentencePieceFile(bytes: bytes)
    try file.scan()
    return try file.parts(config)
  }

  private init(bytes: Bytes) { self.bytes = bytes }

  // MARK: The message

  private mutating func scan() throws(ComponentError) {
    var reader = ProtobufReader(bytes, 0..<bytes.count)
    while let (field, value) = try reader.next() {
      guard case .bytes(let range) = value else { continue }
      switch field {
      case 1: try scanPiece(range)
      case 2: try scanTrainer(range)
      case 3: try scanNormalizer(range)
      default: break
      }
    }
    guard !pieces.isEmpty else {
      throw ComponentError(
        path: "", reason: "neither tiktoken ranks nor a SentencePiece model: there are no pieces")
    }
    guard pieces.count < Vocabulary.maximumID else {
      throw ComponentError(path: "pieces", reason: "more than \(Vocabulary.maximumID) pieces")
    }
  }

  private mutating func scanPiece(_ range: Range<Int>) throws(ComponentError) {
    var piece = Piece()
    var reader = ProtobufReader(bytes, range)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (1, .bytes(let range)): piece.bytes = range
      case (2, .bits32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .number(let number)):
        guard let kind = Kind(rawValue: number) else {
          throw ComponentError(path: "pieces[\(pieces.count)]", reason: "unknown type \(number)")
        }
        piece.kind = kind
      default: break
      }
    }
    if !piece.score.isFinite {
      throw ComponentError(path: "pieces[\(pieces.count)]", reason: "the score is not a number")
    }
    pieces.append(piece)
  }

  private mutating func scanTrainer(_ range: Range<Int>) throws(ComponentError) {
    var reader = ProtobufReader(bytes, range)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (3, .number(let number)): modelType = number
      case (35, .number(let number)): fallsBackToBytes = number != 0
      case (40, .number(let number)): unknownID = Int(Int32(truncatingIfNeeded: number))
      case (41, .number(let number)): bosID = Int(Int32(truncatingIfNeeded: number))
      case (42, .number(let number)): eosID = Int(Int32(truncatingIfNeeded: number))
      case (44, .bytes(let range)): unknownSurface = Array(bytes[range])
      case (24, .number(let number)): rules.spaceIsSuffix = number != 0
      default: break
      }
    }
  }

  private mutating func scanNormalizer(_ range: Range<Int>) throws(ComponentError) {
    var reader = ProtobufReader(bytes, range)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (2, .bytes(let range)):
        if range.isEmpty { continue }
        do {
          rules.charsMap = try PrecompiledCharsMap(blob: Array(bytes[range]))
        } catch {
          throw ComponentError(path: "normalizer_spec", reason: error.reason)
        }
      case (3, .number(let number)): rules.addsDummyPrefix = number != 0
      case (4, .number(let number)): rules.removesExtraSpaces = number != 0
      case (5, .number(let number)): rules.escapesSpaces = number != 0
      default: break
      }
    }
  }

  // MARK: The tokenizer

  private mutating func parts(_ config: TokenizerConfig) throws(ComponentError) -> TokenizerParts {
    let vocabulary = vocabulary()
    for piece in pieces where piece.kind == .userDefined {
      rules.add(userDefined: bytes.slice(piece.bytes.lowerBound, piece.bytes.upperBound))
    }
    let model: TokenModel
    switch modelType {
    case 1: model = .unigram(unigram(vocabulary))
    case 2: model = .bytePairs(bytePairs(vocabulary))
    default:
      throw ComponentError(path: "trainer_spec", reason: "unknown model type \(modelType); unigram and BPE work")
    }
    var parts = TokenizerParts(model: model)
    parts.normalizer = .sentencePiece(rules)
    parts.pieceIDLimit = pieces.count
    var decoder = SentencePieceDecoder(
      consumesLeadingSpace: rules.addsDummyPrefix || rules.removesExtraSpaces,
      consumesAllLeadingSpace: rules.removesExtraSpaces, unknownSurface: unknownSurface)
    for (id, piece) in pieces.enumerated() {
      let text = Array(bytes[piece.bytes])
      let isFrozen = piece.kind == .userDefined && modelType == 2
      if piece.kind == .control { decoder.hidden.insert(text) }
      if piece.kind == .unknown { decoder.unknown = text }
      guard piece.kind == .control || piece.kind == .unknown || isFrozen else { continue }
      parts.added.append(
        AddedToken(
          id: Int32(id), content: String(decoding: text, as: UTF8.self), isNormalized: isFrozen, isSpecial: !isFrozen))
    }
    parts.normalizesAddedTokens = false
    parts.decoder = .sentencePiece(decoder)
    parts.bosToken = config.bosToken ?? name(bosID)
    parts.eosToken = config.eosToken ?? name(eosID)
    parts.setSurroundings(addsBOS: config.addsBOS ?? true, addsEOS: config.addsEOS ?? false)
    return parts
  }

  private func name(_ id: Int) -> String? {
    pieces.indices.contains(id) ? String(decoding: bytes[pieces[id].bytes], as: UTF8.self) : nil
  }

  private func vocabulary() -> Vocabulary {
    var vocabulary = Vocabulary(expecting: pieces.count, bytes: bytes.count)
    for (id, piece) in pieces.enumerated() {
      let isText = piece.kind == .normal || piece.kind == .userDefined || piece.kind == .unused
      vocabulary.add(
        bytes.slice(piece.bytes.lowerBound, piece.bytes.upperBound), id: id,
        isFindable: isText && !piece.bytes.isEmpty)
    }
    return vocabulary
  }

  /// The token of each byte, or -1.
  private func byteTokens() -> [Int32] {
    var tokens = [Int32](repeating: -1, count: 256)
    for (id, piece) in pieces.enumerated() where piece.kind == .byte {
      if let byte = Decoder.byte(of: Array(bytes[piece.bytes])) { tokens[Int(byte)] = Int32(id) }
    }
    return tokens
  }

  private func unknownToken() -> Int32? {
    pieces.firstIndex { $0.kind == .unknown }.map { Int32($0) }
  }

  private func unigram(_ vocabulary: Vocabulary) -> UnigramModel {
    let normal = pieces.filter { $0.kind == .normal }.map(\.score)
    let highest = normal.max() ?? 0
    var trie = PieceTrie(expectingNodes: pieces.count * 3)
    var scores: [Double] = []
    for (id, piece) in pieces.enumerated() {
      // A user's own piece outweighs any other way to write it.
      let isUserDefined = piece.kind == .userDefined
      let score = isUserDefined ? Float(piece.bytes.count) * highest - 0.1 : piece.score
      scores.append(Double(score))
      if piece.kind == .normal || isUserDefined {
        trie.add(bytes.slice(piece.bytes.lowerBound, piece.bytes.upperBound), value: Int32(id))
      }
    }
    return UnigramModel(
      vocabulary: vocabulary, trie: trie, scores: scores, unknown: unknownToken(), fallsBackToBytes: fallsBackToBytes,
      byteTokens: byteTokens(), unknownScore: Double((normal.min() ?? 0) - Float(UnigramModel.unknownPenalty)),
      isSinglePrecision: true)
  }

  /// SentencePiece merges two neighbours if together they are a piece, the best score first. As a table of pairs: every
  /// way to cut a piece into two pieces or single characters. Characters that are no piece get ids behind the others.
  private func bytePairs(_ complete: Vocabulary) -> BytePairModel {
    var vocabulary = complete
    var nextPseudo = pieces.count
    for piece in pieces where piece.kind == .normal {
      let text = bytes.slice(piece.bytes.lowerBound, piece.bytes.upperBound)
      var place = 0
      while place < text.count {
        let length = text.scalar(at: place).length
        let character = text.slice(place, place + length)
        if vocabulary.id(of: character) < 0, nextPseudo < Vocabulary.maximumID {
          vocabulary.add(character, id: nextPseudo)
          nextPseudo += 1
        }
        place += length
      }
    }
    var model = BytePairModel(vocabulary: vocabulary, merges: merges(vocabulary), alphabet: .characters)
    model.unknown = unknownToken()
    model.fusesUnknown = true
    model.fallsBackToBytes = fallsBackToBytes
    model.byteTokens = byteTokens()
    if nextPseudo > pieces.count { model.firstPseudoID = Int32(pieces.count) }
    model.prepare()
    return model
  }

  private func merges(_ vocabulary: Vocabulary) -> MergeTable {
    // Equal scores share a rank: then the leftmost pair goes first.
    var order = pieces.indices.filter { pieces[$0].kind == .normal && pieces[$0].bytes.count > 1 }
    order.sort { pieces[$0].score > pieces[$1].score }
    var table = MergeTable(expecting: order.count * 2)
    var rank: Int32 = -1
    var last = Float.nan
    for id in order {
      if pieces[id].score != last {
        rank += 1
        last = pieces[id].score
      }
      let text = bytes.slice(pieces[id].bytes.lowerBound, pieces[id].bytes.upperBound)
      var cut = text.scalar(at: 0).length
      while cut < text.count {
        let left = vocabulary.id(of: text.slice(0, cut))
        let right = left < 0 ? -1 : vocabulary.id(of: text.slice(cut, text.count))
        if right >= 0 { table.add(left, right, rank: rank, result: Int32(id)) }
        cut += text.scalar(at: cut).length
      }
    }
    return table
  }
}
