/// Reads tiktoken's rank files: a line a token, its bytes in base64 and its rank, which is its id. Split expression and
/// special tokens are not in the file; they are those of Llama 3, which ships this format as `tokenizer.model`.
enum TiktokenFile {
  /// Whether a file begins like a rank file: base64, a space, digits, a line's end.
  static func looksLike(_ bytes: Bytes) -> Bool {
    guard let space = bytes.prefix(512).firstIndex(of: 0x20), space > 0 else { return false }
    guard Base64.decode(bytes.slice(0, space)) != nil, space + 1 < bytes.count else { return false }
    return bytes[space + 1] >= 0x30 && bytes[space + 1] <= 0x39
  }

  static func read(_ bytes: Bytes, config: TokenizerConfig) throws(ComponentError) -> TokenizerParts {
    let vocabulary = try readRanks(bytes)
    var model = BytePairModel(vocabulary: vocabulary, merges: merges(of: vocabulary), alphabet: .bytes)
    model.ignoresMerges = true
    model.prepare()
    if let missing = model.singles.firstIndex(where: { $0 < 0 }) {
      throw ComponentError(path: "", reason: "the ranks have no token for the byte \(missing)")
    }
    var parts = TokenizerParts(model: .bytePairs(model))
    parts.isByteLevel = true
    parts.decoder = .byteLevel
    let pattern: Pattern
    do {
      pattern = try Pattern(expression: SplitScanner.llama3Expression)
    } catch {
      throw ComponentError(path: "", reason: "\(error)")
    }
    parts.preTokenizer = .sequence([
      .split(pattern, .isolated, isInverted: false), .byteLevel(addsPrefixSpace: false, pattern: nil),
    ])
    let named = config.addedTokens.filter { !vocabulary.contains(id: Int($0.id)) }
    parts.added = named.isEmpty ? llama3Specials(from: Int32(vocabulary.idLimit)) : named
    parts.bosToken = config.bosToken ?? "<|begin_of_text|>"
    parts.eosToken = config.eosToken ?? "<|end_of_text|>"
    parts.setSurroundings(addsBOS: config.addsBOS ?? true, addsEOS: config.addsEOS ?? false)
    return parts
  }

  private static func readRanks(_ bytes: Bytes) throws(ComponentError) -> Vocabulary {
    var vocabulary = Vocabulary(expecting: bytes.count / 14, bytes: bytes.count / 2)
    var place = 0
    var line = 0
    while place < bytes.count {
      line += 1
      var end = place
      while end < bytes.count, bytes[end] != 10 { end += 1 }
      var last = end
      while last > place, bytes[last - 1] == 13 || bytes[last - 1] == 0x20 { last -= 1 }
      defer { place = end + 1 }
      if last == place { continue }
      guard let space = bytes[place..<last].firstIndex(of: 0x20),
        let token = Base64.decode(bytes.slice(place, space)), !token.isEmpty,
        let rank = Int(String(decoding: bytes[(space + 1)..<last], as: UTF8.self)), rank >= 0,
        rank < Vocabulary.maximumID
      else {
        throw ComponentError(path: "line \(line)", reason: "expected a token in base64, a space and its rank")
      }
      vocabulary.add(token, id: rank)
    }
    guard vocabulary.count > 0 else { throw ComponentError(path: "", reason: "the file holds no ranks") }
    return vocabulary
  }

  /// Every way to put a token together from two others; the result's rank is the merge's.
  private static func merges(of vocabulary: Vocabulary) -> MergeTable {
    var table = MergeTable(expecting: vocabulary.count * 2)
    for id in 0..<vocabulary.idLimit {
      vocabulary.withBytes(of: id) { token in
        for cut in 1..<max(1, token.count) {
          let left = vocabulary.id(of: token.slice(0, cut))
          if left < 0 { continue }
          let right = vocabulary.id(of: token.slice(cut, token.count))
          if right >= 0 { table.add(left, right, rank: Int32(id), result: Int32(id)) }
        }
      }
    }
    return table
  }

  /// Llama 3's 256 special tokens, which follow the ranks.
  private static func llama3Specials(from first: Int32) -> [AddedToken] {
    var names = ["<|begin_of_text|>", "<|end_of_text|>"]
    names += (0..<4).map { "<|reserved_special_token_\($0)|>" }
    names += ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
    names += (5..<251).map { "<|reserved_special_token_\($0)|>" }
    return names.enumerated().map { AddedToken(id: first + Int32($0.offset), content: $0.element, isSpecial: true) }
  }
}

extension TokenizerParts {
  /// Makes a template of the begin and end tokens, where they exist.
  mutating func setSurroundings(addsBOS: Bool, addsEOS: Bool) {
    func special(_ name: String?) -> PostProcessor.Item? {
      added.first { $0.content == name }.map { .special([$0.id]) }
    }
    var template: [PostProcessor.Item] = [.text]
    if addsBOS, let bos = special(bosToken) { template.insert(bos, at: 0) }
    if addsEOS, let eos = special(eosToken) { template.append(eos) }
    postProcessor.templates = [template]
  }
}
