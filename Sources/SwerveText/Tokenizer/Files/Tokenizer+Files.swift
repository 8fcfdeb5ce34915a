package import SwerveCore

extension Tokenizer {
  /// Loads the tokenizer of a model: `tokenizer.json`, else `tokenizer.model` as SentencePiece or as tiktoken ranks; with
  /// what `tokenizer_config.json` adds to it. Throws one sentence that names the file and the component.
  package convenience init(files: ModelFiles) throws(ModelFileError) {
    let config = TokenizerConfig(try files.json("tokenizer_config.json"))
    var parts: TokenizerParts
    if let file = try Self.open("tokenizer.json", files) {
      do {
        parts = try file.withBytes { (raw) throws(ComponentError) in try TokenizerFile.read(raw) }
      } catch {
        throw ModelFileError(file: files.path("tokenizer.json"), reason: error.sentence)
      }
      config.adjust(&parts)
    } else if let file = try Self.open("tokenizer.model", files) {
      do {
        parts = try file.withBytes { (raw) throws(ComponentError) in
          let bytes = raw.bindMemory(to: UInt8.self)
          return TiktokenFile.looksLike(bytes)
            ? try TiktokenFile.read(bytes, config: config) : try SentencePieceFile.read(bytes, config: config)
        }
      } catch {
        throw ModelFileError(file: files.path("tokenizer.model"), reason: error.sentence)
      }
    } else {
      throw ModelFileError(
        file: files.place,
        reason: "no tokenizer here; tokenizer.json or tokenizer.model (SentencePiece or tiktoken ranks) would work")
    }
    self.init(parts: parts)
  }

  private static func open(_ name: String, _ files: ModelFiles) throws(ModelFileError) -> FileBytes? {
    do {
      return try files.file(name)
    } catch {
      throw ModelFileError(file: files.path(name), reason: error.reason)
    }
  }
}

/// What `tokenizer_config.json` says about tokens. Unknown members are other programs' business.
struct TokenizerConfig: Sendable {
  var bosToken: String?
  var eosToken: String?
  var addsBOS: Bool?
  var addsEOS: Bool?
  var tokenizerClass: String?
  /// `added_tokens_decoder`, by id.
  var addedTokens: [AddedToken] = []

  init(_ json: JSON?) {
    guard let json else { return }
    bosToken = Self.token(json["bos_token"])
    eosToken = Self.token(json["eos_token"])
    addsBOS = json["add_bos_token"]?.bool
    addsEOS = json["add_eos_token"]?.bool
    tokenizerClass = json["tokenizer_class"]?.string
    for (key, value) in json["added_tokens_decoder"]?.object ?? JSONObject() {
      guard let id = Int32(key), id >= 0, id < Vocabulary.maximumID, let content = value["content"]?.string else {
        continue
      }
      let isSpecial = value["special"]?.bool ?? false
      addedTokens.append(
        AddedToken(
          id: id, content: content, isSingleWord: value["single_word"]?.bool ?? false,
          stripsLeft: value["lstrip"]?.bool ?? false, stripsRight: value["rstrip"]?.bool ?? false,
          isNormalized: value["normalized"]?.bool ?? !isSpecial, isSpecial: isSpecial))
    }
    addedTokens.sort { $0.id < $1.id }
  }

  /// A token is written as its text or as an object with its flags.
  private static func token(_ json: JSON?) -> String? { json?.string ?? json?["content"]?.string }

  /// Applies the configuration to a `tokenizer.json`. `add_bos_token` and `add_eos_token` decide for the classes that
  /// build their template from them; for others the file's own template stands.
  func adjust(_ parts: inout TokenizerParts) {
    parts.bosToken = bosToken
    parts.eosToken = eosToken
    let classes = ["Llama", "CodeLlama", "Gemma", "Cohere"]
    guard let tokenizerClass, classes.contains(where: { tokenizerClass.hasPrefix($0) }) else { return }
    guard addsBOS != nil || addsEOS != nil else { return }
    func id(_ token: String?) -> Int32? {
      token.flatMap { token in
        parts.added.first { $0.content == token }?.id
          ?? Optional(parts.model.vocabulary.id(of: Array(token.utf8))).flatMap { $0 < 0 ? nil : $0 }
      }
    }
    var template = parts.postProcessor.templates.last ?? [.text]
    if let addsBOS, let bos = id(bosToken) {
      if template.first == .special([bos]) { template.removeFirst() }
      if addsBOS { template.insert(.special([bos]), at: 0) }
    }
    if let addsEOS, let eos = id(eosToken) {
      if template.last == .special([eos]) { template.removeLast() }
      if addsEOS { template.append(.special([eos])) }
    }
    parts.postProcessor.templates = parts.postProcessor.templates.dropLast() + [template]
  }
}
