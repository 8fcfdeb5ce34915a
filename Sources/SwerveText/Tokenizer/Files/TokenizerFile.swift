import SwerveCore

/// Reads `tokenizer.json`, the format of Hugging Face `tokenizers`.
///
/// Vocabulary and merges are read in place, everything else becomes a small tree first. Cost: about three passes over the
/// file, a few tens of milliseconds for 150,000 pieces and 280,000 merges.
struct TokenizerFile {
  private let bytes: UnsafeRawBufferPointer
  private var components: [String: JSON] = [:]
  private var modelFields: [String: JSON] = [:]
  /// Where the large members of the model begin.
  private var vocabularyPosition: Int?
  private var vocabularyLength = 0
  private var mergesPosition: Int?
  private var isByteLevel = false
  private var unmapped: Set<Int32> = []

  /// Everything the file says. Errors name the component, not the file.
  static func read(_ bytes: UnsafeRawBufferPointer) throws(ComponentError) -> TokenizerParts {
    do {
      var file = TokenizerFile(bytes: bytes)
      try file.scan()
      return try file.parts()
    } catch let error as ComponentError {
      throw error
    } catch {
      throw ComponentError(path: "", reason: "\(error)")
    }
  }

  private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  // MARK: First pass

  private mutating func scan() throws(ComponentError) {
    var scanner = JSONScanner(bytes)
    try scanner.beginObject()
    var isFirst = true
    while try scanner.next(isFirst: &isFirst, end: UInt8(ascii: "}")) {
      let key = try scanner.key()
      if key == "model", scanner.peek() == UInt8(ascii: "{") {
        try scanModel(&scanner)
      } else {
        components[key] = try scanner.value()
      }
    }
    try scanner.expectEnd()
  }

  private mutating func scanModel(_ scanner: inout JSONScanner) throws(ComponentError) {
    try scanner.beginObject()
    var isFirst = true
    while try scanner.next(isFirst: &isFirst, end: UInt8(ascii: "}")) {
      let key = try scanner.key()
      switch key {
      case "vocab":
        _ = scanner.peek()
        vocabularyPosition = scanner.position
        try scanner.skipValue()
        vocabularyLength = scanner.position - (vocabularyPosition ?? 0)
      case "merges":
        _ = scanner.peek()
        mergesPosition = scanner.position
        try scanner.skipValue()
      default: modelFields[key] = try scanner.value()
      }
    }
  }

  // MARK: Second pass

  private func component(_ name: String) -> Component? {
    guard let value = components[name], !value.isNull else { return nil }
    return Component(value, path: name)
  }

  private mutating func parts() throws -> TokenizerParts {
    let normalizer = try component("normalizer").map { try Normalizer($0) }
    let preTokenizer = try component("pre_tokenizer").map { try PreTokenizer($0) }
    let model = try model(preTokenizer)
    var parts = TokenizerParts(model: model)
    parts.normalizer = normalizer
    parts.preTokenizer = preTokenizer
    parts.decoder = try component("decoder").map { try Decoder($0) }
    parts.postProcessor = try component("post_processor").map { try PostProcessor($0) } ?? PostProcessor()
    parts.added = try addedTokens(model)
    parts.isByteLevel = isByteLevel
    parts.unmapped = unmapped
    return parts
  }

  private func addedTokens(_ model: TokenModel) throws(ComponentError) -> [AddedToken] {
    guard let list = components["added_tokens"], !list.isNull else { return [] }
    guard let items = list.array else {
      throw ComponentError(path: "added_tokens", reason: "expected a list, found \(list.kind)")
    }
    var tokens: [AddedToken] = []
    var ids: [[UInt8]: Int32] = [:]
    var highest = -1
    for (place, item) in items.enumerated() {
      let component = Component(item, path: "added_tokens[\(place)]")
      let content = try component.string("content")
      if content.isEmpty { continue }
      guard let id = item["id"]?.int, id >= 0, id < Vocabulary.maximumID else {
        throw component.error("id must be a whole number below \(Vocabulary.maximumID)")
      }
      let isSpecial = try component.bool("special", default: false)
      // As the reference library has it: a token that the model knows keeps the model's id, any other takes the next
      // free one, whatever the list says.
      var known = isByteLevel ? byteLevelID(content, model) : model.vocabulary.id(of: Array(content.utf8))
      if known < 0 { known = ids[Array(content.utf8)] ?? Int32(max(highest + 1, model.vocabulary.count)) }
      ids[Array(content.utf8)] = known
      highest = max(highest, Int(known))
      tokens.append(
        AddedToken(
          id: known, content: content,
          isSingleWord: try component.bool("single_word", default: false),
          stripsLeft: try component.bool("lstrip", default: false),
          stripsRight: try component.bool("rstrip", default: false),
          isNormalized: try component.bool("normalized", default: !isSpecial), isSpecial: isSpecial))
    }
    return tokens
  }

  private func byteLevelID(_ content: String, _ model: TokenModel) -> Int32 {
    let written = Array(content.utf8)
    var raw: [UInt8] = []
    if written.withUnsafeBufferPointer({ ByteAlphabet.decode($0, into: &raw) }) { return model.vocabulary.id(of: raw) }
    return unmapped.first { model.vocabulary.bytes(of: Int($0)).elementsEqual(written) } ?? -1
  }

  private mutating func model(_ preTokenizer: PreTokenizer?) throws -> TokenModel {
    guard let start = vocabularyPosition else {
      throw ComponentError(path: "model", reason: "there is no vocabulary (model.vocab)")
    }
    let fields = Component(.object(JSONObject(modelFields.map { ($0.key, $0.value) })), path: "model")
    let isList = bytes[start] == UInt8(ascii: "[")
    // Files from before types were written down can be told apart by what they hold.
    let standard = mergesPosition != nil ? "BPE" : isList ? "Unigram" : "WordPiece"
    let type = try fields.string("type", default: standard)
    switch type {
    case "BPE": return .bytePairs(try bytePairs(fields, preTokenizer))
    case "Unigram": return .unigram(try unigram(fields))
    case "WordPiece": return .wordPiece(try wordPiece(fields))
    case "WordLevel":
      let vocabulary = try readVocabulary()
      let unknown = vocabulary.id(of: Array(try fields.string("unk_token", default: "<unk>").utf8))
      return .wordLevel(WordLevelModel(vocabulary: vocabulary, unknown: unknown < 0 ? nil : unknown))
    default: throw fields.unknown(type, known: ["BPE", "Unigram", "WordLevel", "WordPiece"])
    }
  }

  private func wordPiece(_ fields: Component) throws -> WordPieceModel {
    let vocabulary = try readVocabulary()
    let unknown = vocabulary.id(of: Array(try fields.string("unk_token", default: "[UNK]").utf8))
    var longest = 0
    for id in 0..<vocabulary.idLimit { longest = max(longest, vocabulary.bytes(of: id).count) }
    return WordPieceModel(
      vocabulary: vocabulary, unknown: unknown < 0 ? nil : unknown,
      continuingPrefix: Array(try fields.string("continuing_subword_prefix", default: "##").utf8),
      maximumCharacters: try fields.int("max_input_chars_per_word", default: 100, in: 0...1_000_000),
      longestPiece: max(1, longest))
  }

  // MARK: Byte pairs

  private mutating func bytePairs(_ fields: Component, _ preTokenizer: PreTokenizer?) throws -> BytePairModel {
    if let dropout = fields.value["dropout"]?.double, dropout != 0 {
      throw fields.error("dropout \(dropout) makes tokens random; set it to null")
    }
    let prefix = Array(try fields.string("continuing_subword_prefix", default: "").utf8)
    let suffix = Array(try fields.string("end_of_word_suffix", default: "").utf8)
    if prefix.isEmpty, suffix.isEmpty, case .byteLevel? = preTokenizer?.steps.last { isByteLevel = true }
    var vocabulary = Vocabulary(expecting: vocabularyLength / 16, bytes: vocabularyLength / 2)
    try readVocabularyObject(into: &vocabulary, isByteLevel: isByteLevel)
    var model = BytePairModel(
      vocabulary: vocabulary, merges: MergeTable(expecting: 0), alphabet: isByteLevel ? .bytes : .characters)
    model.merges = try readMerges(vocabulary, prefix: prefix)
    model.continuingPrefix = prefix
    model.endSuffix = suffix
    model.ignoresMerges = try fields.bool("ignore_merges", default: false)
    model.fallsBackToBytes = try fields.bool("byte_fallback", default: false)
    model.fusesUnknown = try fields.bool("fuse_unk", default: false)
    if let name = fields.value["unk_token"]?.string {
      let id = piece(Array(name.utf8), vocabulary)
      model.unknown = id < 0 ? nil : id
    }
    model.prepare()
    return model
  }

  /// The id of a piece as the file writes it.
  private func piece(_ written: [UInt8], _ vocabulary: Vocabulary) -> Int32 {
    guard isByteLevel else { return vocabulary.id(of: written) }
    var raw: [UInt8] = []
    if written.withUnsafeBufferPointer({ ByteAlphabet.decode($0, into: &raw) }) { return vocabulary.id(of: raw) }
    return unmapped.first { vocabulary.bytes(of: Int($0)).elementsEqual(written) } ?? -1
  }

  private func readMerges(_ vocabulary: Vocabulary, prefix: [UInt8]) throws -> MergeTable {
    guard let start = mergesPosition else {
      throw ComponentError(path: "model", reason: "there are no merges (model.merges), which BPE needs")
    }
    var scanner = JSONScanner(bytes, at: start)
    var table = MergeTable(expecting: vocabulary.count)
    try scanner.beginArray()
    var isFirst = true
    var rank: Int32 = 0
    var left: [UInt8] = []
    var right: [UInt8] = []
    while try scanner.next(isFirst: &isFirst, end: UInt8(ascii: "]")) {
      if scanner.peek() == UInt8(ascii: "[") {
        try scanner.beginArray()
        left.removeAll(keepingCapacity: true)
        right.removeAll(keepingCapacity: true)
        try scanner.string { append($0, to: &left) }
        try scanner.comma()
        try scanner.string { append($0, to: &right) }
        try scanner.endArray()
      } else {
        let isPair = try scanner.string { splitMerge($0, &left, &right) }
        if !isPair {
          throw ComponentError(path: "model.merges[\(rank)]", reason: "expected two pieces with one space between")
        }
      }
      let a = vocabulary.id(of: left)
      let b = vocabulary.id(of: right)
      if !prefix.isEmpty, right.starts(with: prefix) { right.removeFirst(prefix.count) }
      left.append(contentsOf: right)
      let result = vocabulary.id(of: left)
      guard a >= 0, b >= 0, result >= 0 else {
        throw ComponentError(
          path: "model.merges[\(rank)]", reason: "names a piece that is not in the vocabulary")
      }
      table.add(a, b, rank: rank, result: result)
      rank += 1
    }
    return table
  }

  private func append(_ piece: Bytes, to out: inout [UInt8]) {
    if isByteLevel, ByteAlphabet.decode(piece, into: &out) { return }
    out.append(contentsOf: piece)
  }

  private func splitMerge(_ text: Bytes, _ left: inout [UInt8], _ right: inout [UInt8]) -> Bool {
    left.removeAll(keepingCapacity: true)
    right.removeAll(keepingCapacity: true)
    guard let space = text.firstIndex(of: 0x20), !text[(space + 1)...].contains(0x20) else { return false }
    append(text.slice(0, space), to: &left)
    append(text.slice(space + 1, text.count), to: &right)
    return true
  }

  // MARK: Vocabularies

  private func readVocabulary() throws -> Vocabulary {
    var vocabulary = Vocabulary(expecting: vocabularyLength / 16, bytes: vocabularyLength / 2)
    var reader = self
    try reader.readVocabularyObject(into: &vocabulary, isByteLevel: false)
    return vocabulary
  }

  private mutating func readVocabularyObject(into vocabulary: inout Vocabulary, isByteLevel: Bool) throws {
    var scanner = JSONScanner(bytes, at: vocabularyPosition ?? 0)
    try scanner.beginObject()
    var isFirst = true
    var piece: [UInt8] = []
    while try scanner.next(isFirst: &isFirst, end: UInt8(ascii: "}")) {
      piece.removeAll(keepingCapacity: true)
      let isMapped = try scanner.string { written in
        if isByteLevel { return ByteAlphabet.decode(written, into: &piece) }
        piece.append(contentsOf: written)
        return true
      }
      var written: [UInt8] = []
      if !isMapped {
        // Read it again as it stands: rare enough that once more does not matter.
        written = scanner.lastString()
      }
      try scanner.colon()
      let id = try scanner.integer()
      guard id < Vocabulary.maximumID else {
        throw ComponentError(path: "model.vocab", reason: "the id \(id) is not below \(Vocabulary.maximumID)")
      }
      if isMapped {
        vocabulary.add(piece, id: id)
      } else {
        vocabulary.add(written, id: id, isFindable: false)
        unmapped.insert(Int32(id))
      }
    }
  }

  private func unigram(_ fields: Component) throws -> UnigramModel {
    var scanner = JSONScanner(bytes, at: vocabularyPosition ?? 0)
    var vocabulary = Vocabulary(expecting: vocabularyLength / 24, bytes: vocabularyLength / 2)
    var trie = PieceTrie(expectingNodes: vocabularyLength / 16)
    var scores: [Double] = []
    try scanner.beginArray()
    var isFirst = true
    while try scanner.next(isFirst: &isFirst, end: UInt8(ascii: "]")) {
      let id = scores.count
      guard id < Vocabulary.maximumID else {
        throw ComponentError(path: "model.vocab", reason: "more than \(Vocabulary.maximumID) pieces")
      }
      try scanner.beginArray()
      try scanner.string { piece in
        vocabulary.add(piece, id: id)
        trie.add(piece, value: Int32(id))
      }
      try scanner.comma()
      guard let score = try scanner.value().double else {
        throw ComponentError(path: "model.vocab[\(id)]", reason: "expected a piece and its score")
      }
      scores.append(score)
      try scanner.endArray()
    }
    var unknown: Int32?
    if let id = fields.value["unk_id"], !id.isNull {
      guard let number = id.int, number >= 0, number < scores.count else {
        throw fields.error("unk_id must be an id of the vocabulary (0 to \(scores.count - 1))")
      }
      unknown = Int32(number)
    }
    let byteTokens = (0..<256).map { vocabulary.id(of: UnigramModel.bytePiece($0)) }
    return UnigramModel(
      vocabulary: vocabulary, trie: trie, scores: scores, unknown: unknown,
      fallsBackToBytes: try fields.bool("byte_fallback", default: false), byteTokens: byteTokens,
      unknownScore: (scores.min() ?? 0) - UnigramModel.unknownPenalty)
  }
}
