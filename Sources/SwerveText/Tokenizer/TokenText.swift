/// From ids to text: pieces, their bytes, and the decoder that joins them.
struct TokenText: Sendable {
  private let vocabulary: Vocabulary
  private let unmapped: Set<Int32>
  private let added: AddedVocabulary
  private let decoder: Decoder?
  private let isByteLevel: Bool
  /// Whether decoding is nothing but joining bytes and repairing UTF-8.
  let joinsBytes: Bool
  let pieceIDLimit: Int

  init(
    vocabulary: Vocabulary, unmapped: Set<Int32>, added: AddedVocabulary, decoder: Decoder?, isByteLevel: Bool,
    pieceIDLimit: Int?
  ) {
    self.vocabulary = vocabulary
    self.unmapped = unmapped
    self.added = added
    self.decoder = decoder
    self.isByteLevel = isByteLevel
    self.pieceIDLimit = pieceIDLimit ?? vocabulary.idLimit
    if case .byteLevel? = decoder { joinsBytes = true } else { joinsBytes = false }
  }

  private func isPiece(_ id: Int32) -> Bool { id < pieceIDLimit && vocabulary.contains(id: Int(id)) }

  /// The piece of an id as the file writes it.
  func surface(of id: Int32) -> [UInt8]? {
    added.token(id: id).map { Array($0.content.utf8) } ?? piece(of: id)
  }

  /// The piece that decoding starts from.
  private func decodable(_ id: Int32) -> [UInt8]? { added.decoded(id: id) ?? piece(of: id) }

  private func piece(of id: Int32) -> [UInt8]? {
    guard isPiece(id) else { return nil }
    if isByteLevel, !unmapped.contains(id) { return vocabulary.withBytes(of: Int(id)) { ByteAlphabet.encode($0) } }
    return Array(vocabulary.bytes(of: Int(id)))
  }

  func id(of piece: String) -> Int32? {
    if let token = added.token(content: piece) { return token.id }
    let written = Array(piece.utf8)
    var bytes: [UInt8] = []
    if isByteLevel {
      if !written.withUnsafeBufferPointer({ ByteAlphabet.decode($0, into: &bytes) }) {
        return unmapped.first { vocabulary.bytes(of: Int($0)).elementsEqual(written) }
      }
    } else {
      bytes = written
    }
    let id = vocabulary.id(of: bytes)
    if id >= 0, id < pieceIDLimit { return id }
    // Pieces that no look-up finds because text never becomes them (SentencePiece's byte tokens).
    guard Decoder.byte(of: written) != nil else { return nil }
    return (0..<Int32(pieceIDLimit)).first { vocabulary.bytes(of: Int($0)).elementsEqual(written) }
  }

  /// Appends the bytes of an id where decoding only joins bytes.
  func appendBytes(of id: Int32, to out: inout [UInt8]) {
    if added.token(id: id) == nil, isByteLevel {
      if isPiece(id) { out.append(contentsOf: vocabulary.bytes(of: Int(id))) }
      return
    }
    guard let surface = decodable(id) else { return }
    if !surface.withUnsafeBufferPointer({ ByteAlphabet.decode($0, into: &out) }) { out.append(contentsOf: surface) }
  }

  /// What an id adds to the text, as far as that can be said without its neighbours.
  func bytes(of id: Int32) -> [UInt8] {
    if joinsBytes || (isByteLevel && added.token(id: id) == nil) {
      var out: [UInt8] = []
      appendBytes(of: id, to: &out)
      return out
    }
    guard var piece = surface(of: id) else { return [] }
    if added.token(id: id) != nil { return piece }
    if let byte = Decoder.byte(of: piece), decoder?.hasByteTokens ?? false { return [byte] }
    if decoder?.hasMarks ?? false { Normalizer.replace(.literal([0xE2, 0x96, 0x81]), [0x20]).normalize(&piece) }
    return piece
  }

  /// The UTF-8 of `ids`.
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> [UInt8] {
    if joinsBytes {
      var out: [UInt8] = []
      for id in ids where !(skipSpecialTokens && isSpecial(id)) { appendBytes(of: id, to: &out) }
      return Decoder.repaired(out)
    }
    var pieces: [[UInt8]] = []
    pieces.reserveCapacity(ids.count)
    for id in ids where !(skipSpecialTokens && isSpecial(id)) {
      if let piece = decodable(id) { pieces.append(piece) }
    }
    guard let decoder else { return Array(pieces.joined(separator: [0x20])) }
    decoder.apply(to: &pieces)
    return Array(pieces.joined())
  }

  func isSpecial(_ id: Int32) -> Bool { added.token(id: id)?.isSpecial ?? false }

  /// The written form of an added token.
  func addedContent(_ id: Int32) -> String? { added.token(id: id)?.content }
}

extension Decoder {
  /// Whether pieces such as `<0x0A>` stand for bytes.
  var hasByteTokens: Bool {
    switch self {
    case .sequence(let steps): steps.contains { $0.hasByteTokens }
    case .byteFallback, .sentencePiece: true
    default: false
    }
  }

  /// Whether `▁` stands for a space.
  var hasMarks: Bool {
    switch self {
    case .sequence(let steps): steps.contains { $0.hasMarks }
    case .metaspace, .sentencePiece: true
    case .replace(.literal([0xE2, 0x96, 0x81]), [0x20]): true
    default: false
    }
  }
}
