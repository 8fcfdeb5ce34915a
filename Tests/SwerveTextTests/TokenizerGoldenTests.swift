import SwerveCore
import SwerveText
import Testing

@Suite("Tokenizers give the recorded results")
struct TokenizerGoldenTests {
  @Test("Text becomes the recorded ids and they become text again", arguments: TokenizerFixtures.names)
  func encode(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: name)
    let cases = try TokenizerFixtures.lines("\(name)/encode.jsonl.gz")
    try #require(cases.count > 100)
    for item in cases {
      let text = try #require(item["text"]?.string)
      let label = Comment(rawValue: "\(name) \(item["id"]?.string ?? "?")")
      let plain = tokenizer.encode(text, addSpecialTokens: false, parseSpecial: true)
      let surrounded = tokenizer.encode(text, addSpecialTokens: true, parseSpecial: true)
      #expect(plain == TokenizerFixtures.ids(item["ids"]), label)
      #expect(surrounded == TokenizerFixtures.ids(item["ids_special"]), label)
      #expect(tokenizer.decode(plain, skipSpecialTokens: false) =~= item["decoded"]?.string, label)
      #expect(tokenizer.decode(plain, skipSpecialTokens: true) =~= item["decoded_skip"]?.string, label)
      #expect(tokenizer.decode(surrounded, skipSpecialTokens: false) =~= item["decoded_special"]?.string, label)
      #expect(tokenizer.decode(surrounded, skipSpecialTokens: true) =~= item["decoded_special_skip"]?.string, label)
    }
  }

  @Test("Any ids become the recorded text", arguments: TokenizerFixtures.names)
  func decode(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: name)
    for item in try TokenizerFixtures.lines("\(name)/decode.jsonl.gz") {
      let ids = try #require(TokenizerFixtures.ids(item["ids"]))
      #expect(tokenizer.decode(ids, skipSpecialTokens: false) =~= item["decoded"]?.string)
      #expect(tokenizer.decode(ids, skipSpecialTokens: true) =~= item["decoded_skip"]?.string)
    }
  }

  @Test("A stream of ids gives the recorded pieces of text", arguments: TokenizerFixtures.names)
  func stream(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: name)
    for item in try TokenizerFixtures.lines("\(name)/stream.jsonl.gz") {
      let ids = try #require(TokenizerFixtures.ids(item["ids"]))
      let prompt = try #require(TokenizerFixtures.ids(item["prompt_ids"]))
      let skips = item["skip_special_tokens"]?.bool ?? false
      var stream = IncrementalDetokenizer(tokenizer, promptIDs: prompt, skipSpecialTokens: skips)
      let deltas = ids.map { stream.append($0) }
      let rest = stream.flush()
      guard item["strict"]?.bool == true else { continue }
      #expect(deltas =~= item["deltas"]?.array?.map(\.string), "\(name) \(item["id"]?.string ?? "?")")
      #expect(rest =~= item["held"]?.string, "\(name) \(item["id"]?.string ?? "?")")
    }
  }

  @Test("Long texts become the recorded ids", arguments: TokenizerFixtures.names)
  func long(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer(named: name)
    for item in try TokenizerFixtures.lines("\(name)/long.jsonl.gz") {
      let text = String(decoding: try TokenizerFixtures.bytes(try #require(item["text_file"]?.string)), as: UTF8.self)
      let ids = tokenizer.encode(text, addSpecialTokens: false, parseSpecial: true)
      #expect(ids.count == item["n_ids"]?.int)
      let first = try #require(TokenizerFixtures.ids(item["first_ids"]))
      let last = try #require(TokenizerFixtures.ids(item["last_ids"]))
      #expect(Array(ids.prefix(first.count)) == first)
      #expect(Array(ids.suffix(last.count)) == last)
      var words: [UInt8] = []
      for id in ids { for shift in [0, 8, 16, 24] { words.append(UInt8(truncatingIfNeeded: id >> shift)) } }
      #expect(try TokenizerFixtures.sha256(of: words) == item["ids_sha256"]?.string)
      let decoded = tokenizer.decode(ids, skipSpecialTokens: false)
      #expect(try TokenizerFixtures.sha256(of: Array(decoded.utf8)) =~= item["decoded_sha256"]?.string)
    }
  }

  @Test("Small tokenizers, one component each, give the recorded results")
  func labs() throws {
    let labs = try TokenizerFixtures.labs()
    try #require(labs.count > 30)
    for (lab, file) in labs {
      let name = lab["name"]?.string ?? "?"
      let tokenizer = try TokenizerFixtures.tokenizer(["tokenizer.json": file])
      for item in lab["cases"]?.array ?? [] {
        let text = try #require(item["text"]?.string)
        let ids = tokenizer.encode(text, addSpecialTokens: false, parseSpecial: true)
        #expect(ids == TokenizerFixtures.ids(item["ids"]), "\(name) \(text.debugDescription)")
        for id in ids { #expect(tokenizer.token(for: id).flatMap { tokenizer.id(of: $0) } == id, "\(name) \(id)") }
        #expect(tokenizer.decode(ids, skipSpecialTokens: false) =~= item["decoded"]?.string, "\(name)")
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) =~= item["decoded_skip"]?.string, "\(name)")
        guard let deltas = item["deltas"]?.array else { continue }
        var stream = IncrementalDetokenizer(tokenizer)
        #expect(ids.map { stream.append($0) } =~= deltas.map(\.string), "\(name) \(text.debugDescription)")
      }
    }
  }

  @Test("SentencePiece's own file gives SentencePiece's results", arguments: TokenizerFixtures.sentencePieceNames)
  func sentencePiece(name: String) throws {
    let tokenizer = try TokenizerFixtures.tokenizer([
      "tokenizer.model": TokenizerFixtures.bytes("\(name)/tokenizer.model")
    ])
    for item in try TokenizerFixtures.lines("\(name)/sentencepiece.jsonl.gz") {
      let label = Comment(rawValue: "\(name) \(item["id"]?.string ?? "?")")
      let wanted = try #require(TokenizerFixtures.ids(item["ids"]))
      #expect(tokenizer.decode(wanted, skipSpecialTokens: false) =~= item["decoded"]?.string, label)
      guard let text = item["text"]?.string else { continue }
      #expect(tokenizer.encode(text, addSpecialTokens: false, parseSpecial: false) == wanted, label)
    }
  }

  @Test("tiktoken's rank file gives tiktoken's results")
  func tiktoken() throws {
    let tokenizer = try TokenizerFixtures.tokenizer([
      "tokenizer.model": TokenizerFixtures.bytes("llama3/tokenizer.model.gz")
    ])
    for item in try TokenizerFixtures.lines("llama3/tiktoken.jsonl.gz") {
      if let text = item["text"]?.string {
        let ordinary = tokenizer.encode(text, addSpecialTokens: false, parseSpecial: false)
        #expect(ordinary == TokenizerFixtures.ids(item["ids_ordinary"]))
        #expect(
          tokenizer.encode(text, addSpecialTokens: false, parseSpecial: true)
            == TokenizerFixtures.ids(item["ids_all_special"]))
      } else {
        let ids = try #require(TokenizerFixtures.ids(item["ids_bytes"]))
        let hex = ids.flatMap { tokenizer.bytes(of: $0) }.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(hex =~= item["decoded_bytes_hex"]?.string)
        #expect(tokenizer.decode(ids, skipSpecialTokens: false) =~= item["decoded_replace"]?.string)
      }
    }
    let template = tokenizer.encode("Hi", addSpecialTokens: true, parseSpecial: true)
    #expect(template.first == tokenizer.bosTokenID)
    #expect(tokenizer.token(for: Int32(128_009)) == "<|eot_id|>")
    #expect(tokenizer.vocabularyCount == 128_256)
  }
}
