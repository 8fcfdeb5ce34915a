/// Byte-pair encoding over bytes (GPT-2, Llama 3, Qwen, tekken) or characters (Llama 2, Phi-3).
struct BytePairModel: Sendable {
  /// What a word is made of before merging.
  enum Alphabet: Sendable {
    /// Pieces are raw bytes; a symbol is one byte.
    case bytes
    case characters
  }

  var vocabulary: Vocabulary
  var merges: MergeTable
  var alphabet: Alphabet
  /// A word that is a token as a whole is taken without merging.
  var ignoresMerges = false
  /// Unknown characters become byte tokens where all of their bytes have one.
  var fallsBackToBytes = false
  var unknown: Int32?
  /// A run of unknown characters is one unknown token.
  var fusesUnknown = false
  /// Put before every character but the first, and behind the last.
  var continuingPrefix: [UInt8] = []
  var endSuffix: [UInt8] = []
  /// The token `<0xNN>` of each byte, or -1.
  var byteTokens: [Int32] = []
  /// The token of each single byte (of each ASCII character for an alphabet of characters), or -1.
  private(set) var singles: [Int32] = []
  /// Ids from here on are symbols without a token (see `SentencePieceBytePairs`): they leave as unknown.
  var firstPseudoID = Int32.max

  /// Works out the tables; call after the vocabulary is complete.
  mutating func prepare() {
    singles = (0..<256).map { byte in
      alphabet == .characters && byte >= 128 ? -1 : vocabulary.id(of: [UInt8(byte)])
    }
    guard byteTokens.isEmpty else { return }
    byteTokens = (0..<256).map { vocabulary.id(of: UnigramModel.bytePiece($0)) }
  }

  func encode(_ word: Bytes, run: inout MergeRun, into out: inout [Int32]) {
    if ignoresMerges {
      let id = vocabulary.id(of: word)
      if id >= 0 {
        out.append(id)
        return
      }
    }
    run.begin()
    switch alphabet {
    case .bytes: addBytes(word, to: &run)
    case .characters: addCharacters(word, to: &run)
    }
    run.merge(with: merges)
    if firstPseudoID == .max {
      out.append(contentsOf: run.symbols)
    } else {
      appendTranslated(run.symbols, to: &out)
    }
  }

  /// Symbols without a token of their own become byte tokens or unknown.
  private func appendTranslated(_ symbols: [Int32], to out: inout [Int32]) {
    let first = out.count
    for symbol in symbols {
      guard symbol >= firstPseudoID else {
        out.append(symbol)
        continue
      }
      let bytes = vocabulary.bytes(of: Int(symbol))
      if fallsBackToBytes, bytes.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
        for byte in bytes { out.append(byteTokens[Int(byte)]) }
      } else if let unknown, !(fusesUnknown && out.count > first && out.last == unknown) {
        out.append(unknown)
      }
    }
  }

  private func addBytes(_ word: Bytes, to run: inout MergeRun) {
    var unknowns = UnknownRun(model: self)
    for byte in word {
      let id = singles[Int(byte)]
      if id >= 0 {
        unknowns.flush(to: &run)
        run.add(id)
      } else {
        unknowns.add(to: &run)
      }
    }
    unknowns.flush(to: &run)
  }

  private func addCharacters(_ word: Bytes, to run: inout MergeRun) {
    var unknowns = UnknownRun(model: self)
    let isPlain = continuingPrefix.isEmpty && endSuffix.isEmpty
    var place = 0
    while place < word.count {
      let byte = word[place]
      let length = byte < 0x80 ? 1 : word.multibyteScalar(at: place, first: byte).length
      let end = place + length
      var id: Int32
      var symbol: [UInt8] = []
      if isPlain {
        id = length == 1 ? singles[Int(byte)] : vocabulary.id(of: word.slice(place, end))
      } else {
        if place > 0 { symbol += continuingPrefix }
        symbol += word[place..<end]
        if end == word.count { symbol += endSuffix }
        id = vocabulary.id(of: symbol)
      }
      if id >= 0 {
        unknowns.flush(to: &run)
        run.add(id)
      } else if !addFallback(isPlain ? Array(word[place..<end]) : symbol, to: &run) {
        unknowns.add(to: &run)
      }
      place = end
    }
    unknowns.flush(to: &run)
  }

  private func addFallback(_ bytes: [UInt8], to run: inout MergeRun) -> Bool {
    guard fallsBackToBytes, bytes.allSatisfy({ byteTokens[Int($0)] >= 0 }) else { return false }
    for byte in bytes { run.add(byteTokens[Int(byte)]) }
    return true
  }

  /// Unknown characters that wait for the next known one. Without an unknown token they are dropped, as the reference
  /// library does.
  private struct UnknownRun {
    let token: Int32?
    let fuses: Bool
    var isOpen = false

    init(model: borrowing BytePairModel) {
      token = model.unknown
      fuses = model.fusesUnknown
    }

    mutating func add(to run: inout MergeRun) {
      if isOpen, !fuses { flush(to: &run) }
      isOpen = token != nil
    }

    mutating func flush(to run: inout MergeRun) {
      if isOpen, let token { run.add(token) }
      isOpen = false
    }
  }
}
