import SwerveCore
import SwerveText
import Testing

@Suite("Tokenizers hold their promises on random and broken input")
struct TokenizerPropertyTests {
  @Test("Scanners cut text where their expressions do", arguments: PatternProbe.scannedExpressions)
  func scanners(expression: String) throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    let scanner = try PatternProbe(expression)
    let program = try PatternProbe(expression, usesScanner: false)
    #expect(scanner.isScanner && !program.isScanner)
    for _ in 0..<1500 {
      let text = generator.text(Int.random(in: 1...40, using: &generator))
      #expect(scanner.matches(in: text) == program.matches(in: text), "seed \(seed) \(text.debugDescription)")
    }
  }

  @Test(
    "Patterns that backtrack without end elsewhere end here",
    arguments: [
      #"(a*)*b"#, #"(?:a|a)*c"#, #"(?:a?){30}a{30}"#, #"(?:(?:a+)+)+$x"#, #"(?:(?=(?:a|a)*)a)*c"#, #"(?<=(?:a?){20})b"#,
    ])
  func backtracking(expression: String) throws {
    let probe = try PatternProbe(expression)
    #expect(probe.matches(in: String(repeating: "a", count: 60)).allSatisfy { $0.upperBound <= 60 })
  }

  @Test(
    "A pattern that cannot be read is refused with a sentence",
    arguments: [
      "(", ")", "[", "[a", "a{2,1}", "*", "\\p{Nothing}", "(?<=a*)b", "(a)\\1", "\\", "[z-a]", "(?q)",
      "a{1000}{1000}", "\\x{110000}",
    ])
  func refused(expression: String) {
    #expect(throws: (any Error).self) { try PatternProbe(expression) }
  }

  @Test("A stream of random ids only grows and ends with the rest", arguments: TokenizerFixtures.names)
  func randomStreams(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: name)
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<40 {
      let ids = (0..<400).map { _ in Int32.random(in: -2...Int32(tokenizer.vocabularyCount), using: &generator) }
      var stream = IncrementalDetokenizer(tokenizer, promptIDs: Array(ids.prefix(3)), skipSpecialTokens: false)
      let pieces = ids.map { stream.append($0) ?? "" }
      let rest = stream.flush()
      let bound = ids.reduce(0) { $0 + tokenizer.bytes(of: $1).count * 3 + 16 }
      #expect(pieces.joined().utf8.count + rest.utf8.count <= bound, "seed \(seed)")
      #expect(stream.flush().isEmpty, "seed \(seed)")
    }
  }

  @Test("Byte-level text comes back as it went in", arguments: ["gpt2", "llama3", "mistral-tekken"])
  func roundTrip(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: name)
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<300 {
      let text = generator.text(Int.random(in: 1...300, using: &generator))
      let ids = tokenizer.encode(text, addSpecialTokens: false, parseSpecial: false)
      #expect(Array(tokenizer.decode(ids, skipSpecialTokens: false).utf8) == Array(text.utf8), "seed \(seed)")
      #expect(tokenizer.encode(text, addSpecialTokens: false, parseSpecial: false) == ids, "seed \(seed)")
      #expect(ids.flatMap { tokenizer.bytes(of: $0) } == Array(text.utf8), "seed \(seed)")
    }
  }

  @Test("Threads that share a tokenizer get what one alone gets")
  func sharing() async throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: "qwen2.5")
    var generator = SeededGenerator(seed: 7)
    let texts = (0..<64).map { _ in generator.text(400) }
    let alone = texts.map { tokenizer.encode($0, addSpecialTokens: false, parseSpecial: true) }
    let together = await withTaskGroup(of: (Int, [Int32]).self) { group in
      for (place, text) in texts.enumerated() {
        group.addTask { (place, tokenizer.encode(text, addSpecialTokens: false, parseSpecial: true)) }
      }
      return await group.reduce(into: [Int: [Int32]]()) { $0[$1.0] = $1.1 }
    }
    for place in texts.indices { #expect(together[place] == alone[place]) }
  }

  @Test("A broken tokenizer.json is refused with a sentence that names it", arguments: TokenizerBroken.files)
  func broken(file: TokenizerBroken) {
    let error = #expect(throws: ModelFileError.self) {
      try TokenizerFixtures.tokenizer(["tokenizer.json": Array(file.text.utf8)])
    }
    #expect(error?.file == "test/tokenizer.json")
    #expect(error?.reason.contains(file.names) == true, "\(error?.reason ?? "")")
  }

  @Test("A folder without a tokenizer says what would work")
  func missing() {
    let error = #expect(throws: ModelFileError.self) { try TokenizerFixtures.tokenizer([:]) }
    #expect(error?.reason.contains("tokenizer.json or tokenizer.model") == true)
  }

  @Test("Damaged files load or are refused, and never trap", arguments: ["llama2/tokenizer.model", "labs", "ranks"])
  func damaged(kind: String) throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    var originals: [[UInt8]] = []
    var name = "tokenizer.model"
    switch kind {
    case "labs":
      name = "tokenizer.json"
      originals = try TokenizerFixtures.labs().map(\.tokenizer)
    case "ranks": originals = [Array(try TokenizerFixtures.bytes("llama3/tokenizer.model.gz").prefix(20_000))]
    default: originals = [try TokenizerFixtures.bytes(kind)]
    }
    var refused = 0
    for _ in 0..<150 {
      guard var bytes = originals.randomElement(using: &generator) else { return }
      if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
      for _ in 0..<Int.random(in: 1...6, using: &generator) where !bytes.isEmpty {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      do {
        let tokenizer = try TokenizerFixtures.tokenizer([name: bytes])
        let ids = tokenizer.encode("Hello <s> wörld 123", addSpecialTokens: true, parseSpecial: true)
        _ = tokenizer.decode(ids, skipSpecialTokens: false)
      } catch let error as ModelFileError {
        refused += 1
        #expect(!error.reason.isEmpty)
      }
    }
    #expect(refused > 0, "seed \(seed)")
  }

  @Test("A bad line is answered with an error and changes nothing")
  func lines() throws {
    let lines = TokenizerLines(try TokenizerFixtures.tokenizer(named: "gpt2"))
    for bad in ["", "{", "[]", "{\"text\": 3}", "{\"text\": \"a\", \"add_special_tokens\": 1}"] {
      #expect(try JSON(parsing: lines.tokenize(line: Array(bad.utf8)))["error"]?.string != nil)
    }
    for bad in ["{\"ids\": [\"a\"]}", "{\"ids\": 1}", "{}"] {
      #expect(try JSON(parsing: lines.detokenize(line: Array(bad.utf8)))["error"]?.string != nil)
    }
    #expect(lines.tokenize(line: Array(#"{"text": "Hello world"}"#.utf8)) == Array(#"{"ids": [15496, 995]}"#.utf8))
    let stream = lines.detokenize(line: Array(#"{"ids": [15496, 995, 99999999], "stream": true}"#.utf8))
    #expect(stream == Array(#"{"deltas":["Hello"," world",null]}"#.utf8))
    let breaks = lines.detokenize(line: Array(#"{"ids": [447, 101]}"#.utf8))
    #expect(!breaks.contains(0xE2))
  }

  @Test("tokenizer_config.json names the begin and end tokens")
  func configuration() throws {
    let config =
      #"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_eos_token": true, "tokenizer_class": "LlamaTokenizer"}"#
    let tokenizer = try TokenizerFixtures.tokenizer([
      "tokenizer.json": TokenizerFixtures.bytes("llama2/tokenizer.json.gz"),
      "tokenizer_config.json": Array(config.utf8),
    ])
    #expect(tokenizer.bosTokenID == 1 && tokenizer.eosTokenID == 2)
    #expect(tokenizer.encode("a", addSpecialTokens: true, parseSpecial: true) == [1, 263, 2])
    #expect(tokenizer.isSpecial(1) && !tokenizer.isSpecial(263))
    #expect(tokenizer.id(of: "▁the") == 278 && tokenizer.token(for: Int32(278)) == "▁the")
    #expect(tokenizer.bytes(of: Int32(278)) == Array(" the".utf8))
    #expect(tokenizer.bytes(of: Int32(13)) == [10])
  }
}

/// A file that must be refused, and the word that its error must hold.
struct TokenizerBroken: Sendable, CustomTestStringConvertible {
  var text: String
  var names: String

  var testDescription: String { names }

  private static let model = #""model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}"#

  static let files = [
    Self(text: "", names: "not JSON"),
    Self(text: "{", names: "not JSON"),
    Self(text: "{}", names: "model.vocab"),
    Self(text: "{\"model\": 1}", names: "model.vocab"),
    Self(text: "{\(model), \"normalizer\": {\"type\": \"Nothing\"}}", names: "normalizer: unknown type 'Nothing'"),
    Self(text: "{\(model), \"pre_tokenizer\": {\"type\": \"Nothing\"}}", names: "pre_tokenizer: unknown type"),
    Self(text: "{\(model), \"decoder\": {\"type\": \"Nothing\"}}", names: "decoder: unknown type"),
    Self(text: "{\(model), \"post_processor\": {}}", names: "post_processor: the component has no type"),
    Self(
      text:
        "{\(model), \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Removed\"}}",
      names: "pattern '('"),
    Self(text: "{\(model), \"added_tokens\": [{\"id\": -1, \"content\": \"x\"}]}", names: "added_tokens[0]"),
    Self(text: #"{"model": {"type": "Rare", "vocab": {}}}"#, names: "unknown type 'Rare'"),
    Self(text: #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}"#, names: "model.merges[0]"),
    Self(text: #"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}"#, names: "model.merges[0]"),
    Self(text: #"{"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []}}"#, names: "model.vocab"),
    Self(text: #"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#, names: "not negative"),
    Self(text: #"{"model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 1}, "merges": []}}"#, names: "dropout"),
    Self(text: #"{"model": {"type": "Unigram", "unk_id": 5, "vocab": [["a", 0.0]]}}"#, names: "unk_id"),
  ]
}
