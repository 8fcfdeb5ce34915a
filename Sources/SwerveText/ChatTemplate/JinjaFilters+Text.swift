extension JinjaRenderer {
  /// Filters that give a string.
  func applyText(
    _ filter: JinjaFilter, _ value: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaText {
    let name = filter.rawValue
    switch filter {
    case .trim:
      let values = try arguments.bind(name, ["chars"])
      var characters: JinjaText?
      if let chars = values[0], !chars.isNone { characters = try text(chars, "strip arg") }
      return try JinjaPrinter.text(value).trimmed(characters: characters)
    case .replace:
      let values = try arguments.bind(name, ["old", "new", "count"], required: 2)
      let source = try JinjaPrinter.text(value)
      let old = try JinjaPrinter.text(values[0] ?? .none)
      let new = try JinjaPrinter.text(values[1] ?? .none)
      return try JinjaText(bytes: source.bytes).replacing(old, with: new, limit: values[2]?.asInt ?? -1)
    case .indent: return try indent(value, arguments)
    case .truncate: return try truncate(value, arguments)
    case .wordwrap: return try wrap(value, arguments)
    case .center:
      let values = try arguments.bind(name, ["width"])
      guard let width = values[0].map(\.asInt) ?? 80 else { throw .typeError("center() width must be an integer") }
      try JinjaLimits.check(textBytes: width)
      return Self.padded(try JinjaPrinter.text(value), to: width, fill: " ", .center)
    case .format: return try format(value, arguments)
    case .urlencode:
      _ = try arguments.bind(name, [])
      return try urlEncode(value)
    case .xmlattr: return try attributes(value, arguments)
    default: break
    }
    if filter == .urlize {
      _ = try arguments.bind(name, ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"])
      throw .runtime("the urlize filter makes HTML and is not available in chat templates")
    }
    _ = try arguments.bind(name, [])
    let source = try JinjaPrinter.text(value)
    switch filter {
    case .upper: return source.uppercased
    case .lower: return source.lowercased
    case .capitalize: return source.capitalized
    case .title: return JinjaText(bytes: source.filterTitled.bytes)
    case .safe: return JinjaText(bytes: source.bytes, isMarkup: true)
    case .escape, .e: return source.escaped
    case .forceescape: return source.isMarkup ? source : source.escaped
    case .striptags: return Self.stripTags(source)
    case .pprint: return try JinjaPrinter.pretty(value)
    default: return source
    }
  }

  static func wordCount(_ text: JinjaText) -> Int {
    var count = 0
    var isInside = false
    for scalar in text.scalars {
      let isWord = scalar.isPythonAlphanumeric || scalar == "_"
      if isWord, !isInside { count += 1 }
      isInside = isWord
    }
    return count
  }

  private func indent(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaText {
    let values = try arguments.bind("indent", ["width", "first", "blank"])
    var indentation = [UInt8](repeating: 0x20, count: 4)
    switch values[0] {
    case nil: break
    case .text(let text)?: indentation = text.bytes
    case let width?:
      guard let count = width.asInt else { throw .typeError("can't multiply sequence by non-int of type 'str'") }
      try JinjaLimits.check(textBytes: count)
      indentation = [UInt8](repeating: 0x20, count: max(0, count))
    }
    let isFirst = values[1]?.isTrue ?? false
    let isBlank = values[2]?.isTrue ?? false
    if case .undefined(let undefined) = value { throw undefined.error }
    let source = try text(value, "can only concatenate str; the indented value")
    let lines = Self.lines(of: JinjaText(bytes: source.bytes + [0x0A]), keepEnds: false)
    var out: [UInt8] = isFirst ? indentation : []
    for (place, line) in lines.enumerated() {
      if place > 0 {
        out.append(0x0A)
        if isBlank || !line.isEmpty { out += indentation }
      }
      out += line.bytes
      try JinjaLimits.check(textBytes: out.count)
    }
    return JinjaText(bytes: out, isMarkup: source.isMarkup)
  }

  private func truncate(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaText {
    let values = try arguments.bind("truncate", ["length", "killwords", "end", "leeway"])
    // Nothing is short enough, also when it is undefined.
    let source = value.isUndefined ? "" : try text(value, "the truncated value")
    let length = values[0]?.asInt ?? 255
    let end = try values[2].map { (value) throws(TemplateError) in try JinjaPrinter.text(value) } ?? "..."
    let leeway = values[3]?.asInt ?? 5
    if length < end.count { throw assertion("expected length >= \(end.count), got \(length)") }
    let room = length - end.count
    if leeway < 0 { throw assertion("expected leeway >= 0, got \(leeway)") }
    let count = source.count
    if count <= length || count - length <= leeway { return source }
    var cut = JinjaText(source.bytes[..<source.offset(of: room)])
    if values[1]?.isTrue != true, let space = cut.findLast(" ", in: 0..<cut.bytes.count) {
      cut = JinjaText(cut.bytes[..<space])
    }
    return JinjaText(bytes: cut.bytes + end.bytes, isMarkup: source.isMarkup)
  }

  private func assertion(_ message: String) -> TemplateError {
    TemplateError(kind: .python, type: "AssertionError", message: message)
  }

  private func wrap(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaText {
    let values = try arguments.bind("wordwrap", ["width", "break_long_words", "wrapstring", "break_on_hyphens"])
    if case .undefined(let undefined) = value { throw undefined.error }
    let source = try text(value, "the wrapped value")
    let width = values[0]?.asInt ?? 79
    if width <= 0 { throw .valueError("invalid width \(width) (must be > 0)") }
    let wrapper = TextWrapper(
      width: width, breaksLongWords: values[1]?.isTrue ?? true, breaksOnHyphens: values[3]?.isTrue ?? true)
    var separator: JinjaText = "\n"
    if let given = values[2], !given.isNone { separator = try JinjaPrinter.text(given) }
    var out: [UInt8] = []
    for (place, line) in Self.lines(of: source, keepEnds: false).enumerated() {
      if place > 0 { out += separator.bytes }
      for (piece, wrapped) in wrapper.wrap(line.scalars).enumerated() {
        if piece > 0 { out += separator.bytes }
        out += JinjaText(wrapped).bytes
      }
      try JinjaLimits.check(textBytes: out.count)
    }
    return JinjaText(bytes: out)
  }

  private func format(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaText {
    if !arguments.positional.isEmpty, !arguments.named.isEmpty {
      throw .argument("can't handle positional and keyword arguments at the same time")
    }
    let source = try JinjaPrinter.text(value)
    if arguments.named.isEmpty {
      return try PercentFormat.apply(source, .tuple(try JinjaList(arguments.positional)))
    }
    return try PercentFormat.apply(source, .dict(try JinjaDict(arguments.named.map { (.text($0.0), $0.1) })))
  }

  // MARK: HTML and addresses

  private func urlEncode(_ value: JinjaValue) throws(TemplateError) -> JinjaText {
    func quote(_ value: JinjaValue, forQuery: Bool) throws(TemplateError) -> [UInt8] {
      var out: [UInt8] = []
      for byte in try JinjaPrinter.text(value).bytes {
        let isLetter = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        if isLetter || "_.-~".utf8.contains(byte) || (byte == UInt8(ascii: "/") && !forQuery) {
          out.append(byte)
        } else if byte == 0x20, forQuery {
          out.append(UInt8(ascii: "+"))
        } else {
          out.append(UInt8(ascii: "%"))
          out.append(text: JinjaPrinter.hex(UInt32(byte), digits: 2).uppercased())
        }
      }
      return out
    }
    let pairs: [JinjaValue]
    switch value {
    case .dict(let dict): pairs = try JinjaView(.items, dict).items()
    case .list, .tuple, .object:
      guard value.isIterable else { return JinjaText(bytes: try quote(value, forQuery: false)) }
      pairs = try value.elements()
    default: return JinjaText(bytes: try quote(value, forQuery: false))
    }
    var out: [UInt8] = []
    for (place, pair) in pairs.enumerated() {
      let items = try pair.elements()
      guard items.count == 2 else { throw .valueError("not enough values to unpack (expected 2)") }
      if place > 0 { out.append(UInt8(ascii: "&")) }
      out += try quote(items[0], forQuery: true)
      out.append(UInt8(ascii: "="))
      out += try quote(items[1], forQuery: true)
      try JinjaLimits.check(textBytes: out.count)
    }
    return JinjaText(bytes: out)
  }

  private func attributes(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaText {
    let hasSpace = try arguments.bind("xmlattr", ["autospace"])[0]?.isTrue ?? true
    if case .undefined(let undefined) = value { throw undefined.error }
    guard case .dict(let dict) = value else {
      throw TemplateError(
        kind: .python, type: "AttributeError", message: "'\(value.typeName)' object has no attribute 'items'")
    }
    var out: [UInt8] = []
    for (key, value) in dict.members where !value.isNone && !value.isUndefined {
      let name = try JinjaPrinter.text(key)
      if name.bytes.contains(where: { " \t\n\r\u{B}\u{C}/>=".utf8.contains($0) }) {
        throw .valueError("Invalid character in attribute name: \(JinjaPrinter.quoted(name).string)")
      }
      if hasSpace || !out.isEmpty { out.append(0x20) }
      out += name.escaped.bytes + Array("=\"".utf8) + (try JinjaPrinter.text(value)).escaped.bytes
      out.append(UInt8(ascii: "\""))
      try JinjaLimits.check(textBytes: out.count)
    }
    return JinjaText(bytes: out)
  }

  /// Comments and tags taken out, white space run together, entities read.
  private static func stripTags(_ text: JinjaText) -> JinjaText {
    var bytes = text.bytes
    for (open, close) in [("<!--", "-->"), ("<", ">")] as [(JinjaText, JinjaText)] {
      let source = JinjaText(bytes: bytes)
      var out: [UInt8] = []
      var place = 0
      while let start = source.find(open, in: place..<bytes.count),
        let end = source.find(close, in: start + open.bytes.count..<bytes.count)
      {
        out += bytes[place..<start]
        place = end + close.bytes.count
      }
      bytes = out + bytes[place...]
    }
    var joined: [UInt8] = []
    for word in String(decoding: bytes, as: UTF8.self).unicodeScalars.split(whereSeparator: \.isPythonSpace) {
      if !joined.isEmpty { joined.append(0x20) }
      for scalar in word { joined.append(scalar: scalar) }
    }
    var out = joined
    for (entity, character) in [
      ("&lt;", "<"), ("&gt;", ">"), ("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&"),
    ] {
      guard let replaced = try? JinjaText(bytes: out).replacing(JinjaText(entity), with: JinjaText(character)) else {
        continue
      }
      out = replaced.bytes
    }
    return JinjaText(bytes: out)
  }
}
