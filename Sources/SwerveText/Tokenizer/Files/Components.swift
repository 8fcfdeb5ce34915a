import SwerveCore

extension Normalizer {
  private static let known = [
    "BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend",
    "Replace",
    "Sequence", "Strip", "StripAccents",
  ]

  /// Reads the `normalizer` of a `tokenizer.json`.
  init(_ component: Component) throws(ComponentError) {
    let type = try component.type()
    switch type {
    case "Sequence":
      var steps: [Normalizer] = []
      for item in try component.list("normalizers") { steps.append(try Normalizer(item)) }
      self = .sequence(steps)
    case "Lowercase": self = .lowercase
    case "StripAccents": self = .stripAccents
    case "Nmt": self = .nmt
    case "ByteLevel": self = .byteLevel
    case "Prepend": self = .prepend(Array(try component.string("prepend").utf8))
    case "Strip":
      self = .strip(
        left: try component.bool("strip_left", default: true), right: try component.bool("strip_right", default: true))
    case "Replace": self = .replace(try component.pattern(), Array(try component.string("content").utf8))
    case "BertNormalizer":
      let lowercases = try component.bool("lowercase", default: true)
      self = .bert(
        BertNormalizer(
          cleansText: try component.bool("clean_text", default: true),
          spacesChinese: try component.bool("handle_chinese_chars", default: true),
          stripsAccents: try component.bool("strip_accents", default: lowercases), lowercases: lowercases))
    case "Precompiled":
      guard let blob = Base64.decode(Array(try component.string("precompiled_charsmap").utf8)) else {
        throw component.error("precompiled_charsmap is not base64")
      }
      do {
        self = .precompiled(try PrecompiledCharsMap(blob: blob))
      } catch {
        throw component.error(error.reason)
      }
    default:
      guard let form = NormalForm(rawValue: type) else { throw component.unknown(type, known: Self.known) }
      self = .form(form)
    }
  }
}

extension PreTokenizer {
  private static let known = [
    "BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace", "Punctuation",
    "Sequence", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit",
  ]

  /// Reads the `pre_tokenizer` of a `tokenizer.json`.
  init(_ component: Component) throws(ComponentError) {
    let type = try component.type()
    switch type {
    case "Sequence":
      var steps: [PreTokenizer] = []
      for item in try component.list("pretokenizers") { steps.append(try PreTokenizer(item)) }
      self = .sequence(steps)
    case "Split":
      self = .split(
        try component.pattern(), try SplitBehavior(component, default: nil),
        isInverted: try component.bool("invert", default: false))
    case "ByteLevel":
      let splits = try component.bool("use_regex", default: true)
      self = .byteLevel(
        addsPrefixSpace: try component.bool("add_prefix_space", default: true),
        pattern: splits ? .scanner(.gpt2) : nil)
    case "Metaspace": self = .metaspace(try Metaspace(component))
    case "BertPreTokenizer": self = .bert
    case "Whitespace": self = .whitespace
    case "WhitespaceSplit": self = .whitespaceSplit
    case "UnicodeScripts": self = .scripts
    case "Punctuation": self = .punctuation(try SplitBehavior(component, default: .isolated))
    case "Digits": self = .digits(isIndividual: try component.bool("individual_digits", default: false))
    case "CharDelimiterSplit": self = .character(try component.scalar("delimiter"))
    case "FixedLength": self = .fixedLength(try component.int("length", default: 5, in: 1...1_000_000))
    default: throw component.unknown(type, known: Self.known)
    }
  }
}

extension SplitBehavior {
  init(_ component: Component, default standard: SplitBehavior?) throws(ComponentError) {
    if let standard, component.value["behavior"] == nil {
      self = standard
      return
    }
    let name = try component.string("behavior")
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw component.error(
        "unknown behavior '\(name)'; Removed, Isolated, MergedWithPrevious, MergedWithNext and Contiguous work")
    }
    self = behavior
  }
}

extension Metaspace {
  init(_ component: Component) throws(ComponentError) {
    var text: [UInt8] = []
    text.append(scalar: try component.scalar("replacement", default: "▁"))
    replacement = text
    splits = try component.bool("split", default: true)
    // Older files say add_prefix_space instead of prepend_scheme.
    let addsPrefix = try component.bool("add_prefix_space", default: true)
    let name = try component.string("prepend_scheme", default: addsPrefix ? "always" : "never")
    guard let scheme = PrependScheme(rawValue: name) else {
      throw component.error("unknown prepend_scheme '\(name)'; always, first and never work")
    }
    prepends = scheme
  }
}

extension Decoder {
  private static let known = [
    "BPEDecoder", "ByteFallback", "ByteLevel", "CTC", "Fuse", "Metaspace", "Replace", "Sequence", "Strip", "WordPiece",
  ]

  /// Reads the `decoder` of a `tokenizer.json`.
  init(_ component: Component) throws(ComponentError) {
    let type = try component.type()
    switch type {
    case "Sequence":
      var steps: [Decoder] = []
      for item in try component.list("decoders") { steps.append(try Decoder(item)) }
      self = .sequence(steps)
    case "ByteLevel": self = .byteLevel
    case "ByteFallback": self = .byteFallback
    case "Fuse": self = .fuse
    case "Metaspace": self = .metaspace(try Metaspace(component))
    case "Replace": self = .replace(try component.pattern(), Array(try component.string("content").utf8))
    case "Strip":
      self = .strip(
        content: try component.scalar("content", default: " "),
        start: try component.int("start", default: 0, in: 0...Int(Int32.max)),
        stop: try component.int("stop", default: 0, in: 0...Int(Int32.max)))
    case "WordPiece":
      self = .wordPiece(
        prefix: Array(try component.string("prefix", default: "##").utf8),
        cleansUp: try component.bool("cleanup", default: true))
    case "BPEDecoder": self = .bytePairs(suffix: Array(try component.string("suffix", default: "</w>").utf8))
    case "CTC":
      self = .ctc(
        pad: Array(try component.string("pad_token", default: "<pad>").utf8),
        delimiter: Array(try component.string("word_delimiter_token", default: "|").utf8),
        cleansUp: try component.bool("cleanup", default: true))
    default: throw component.unknown(type, known: Self.known)
    }
  }
}

extension PostProcessor {
  private static let known = ["BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"]

  /// Reads the `post_processor` of a `tokenizer.json`; only the form for a single text is used.
  init(_ component: Component) throws(ComponentError) {
    self.init()
    try append(component)
  }

  private mutating func append(_ component: Component) throws(ComponentError) {
    let type = try component.type()
    switch type {
    case "Sequence": for item in try component.list("processors") { try append(item) }
    case "ByteLevel": break
    case "BertProcessing", "RobertaProcessing":
      templates.append([
        .special([try Self.pairID(component, "cls")]), .text, .special([try Self.pairID(component, "sep")]),
      ])
    case "TemplateProcessing":
      var items: [Item] = []
      for item in try component.list("single") { try Self.item(item, in: component).map { items.append($0) } }
      templates.append(items)
    default: throw component.unknown(type, known: Self.known)
    }
  }

  /// The id of a pair such as `["[CLS]", 101]`.
  private static func pairID(_ component: Component, _ name: String) throws(ComponentError) -> Int32 {
    guard let id = component.value[name]?[1]?.int, id >= 0, id < Vocabulary.maximumID else {
      throw component.error("\(name) must be a token and its id")
    }
    return Int32(id)
  }

  private static func item(_ item: Component, in template: Component) throws(ComponentError) -> Item? {
    if let name = item.value["Sequence"]?["id"]?.string { return name == "A" ? .text : nil }
    guard let name = item.value["SpecialToken"]?["id"]?.string else {
      throw item.error("expected a Sequence or a SpecialToken")
    }
    guard let ids = template.value["special_tokens"]?[name]?["ids"]?.array else {
      throw item.error("the token '\(name)' is not among special_tokens")
    }
    var special: [Int32] = []
    for id in ids {
      guard let id = id.int, id >= 0, id < Vocabulary.maximumID else {
        throw item.error("the ids of '\(name)' must be whole numbers below \(Vocabulary.maximumID)")
      }
      special.append(Int32(id))
    }
    return .special(special)
  }
}
