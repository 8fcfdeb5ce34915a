extension JinjaRenderer {
  func call(
    _ method: JinjaMethodName, of text: JinjaText, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    let name = method.rawValue
    switch method {
    case .strip, .lstrip, .rstrip:
      let values = try arguments.bind(name, ["chars"])
      var characters: JinjaText?
      switch values[0] {
      case nil, JinjaValue.none?: break
      case .text(let chars)?: characters = chars
      default: throw .typeError("\(name) arg must be None or str")
      }
      return .text(text.trimmed(left: method != .rstrip, right: method != .lstrip, characters: characters))
    case .startswith, .endswith: return .bool(try affix(method, text, arguments))
    case .split, .rsplit: return try split(text, arguments, fromRight: method == .rsplit)
    case .splitlines:
      let keeps = try arguments.bind(name, ["keepends"])[0]?.isTrue ?? false
      return .list(try JinjaList(Self.lines(of: text, keepEnds: keeps).map { .text($0.marked(like: text)) }))
    case .replace:
      let values = try arguments.bind(name, ["old", "new", "count"], required: 2)
      let old = try self.text(values[0], "replace() argument 1")
      let new = try self.text(values[1], "replace() argument 2")
      return .text(try text.replacing(old, with: text.isMarkup ? new.escaped : new, limit: values[2]?.asInt ?? -1))
    case .join:
      let values = try arguments.bind(name, ["iterable"], required: 1)
      return .text(try join(try (values[0] ?? .none).elements(), separator: text, convertsItems: false))
    case .upper, .lower, .casefold, .title, .capitalize, .swapcase:
      _ = try arguments.bind(name, [])
      return .text(Self.recased(text, method))
    case .find, .rfind, .index, .rindex, .count: return try search(method, text, arguments)
    case .partition, .rpartition: return try partition(text, arguments, fromRight: method == .rpartition)
    case .removeprefix, .removesuffix:
      let values = try arguments.bind(name, ["affix"], required: 1)
      let affix = try self.text(values[0], "\(name)() argument")
      if method == .removeprefix {
        return .text(text.hasPrefix(affix) ? JinjaText(text.bytes.dropFirst(affix.bytes.count)) : text)
      }
      return .text(text.hasSuffix(affix) ? JinjaText(text.bytes.dropLast(affix.bytes.count)) : text)
    case .center, .ljust, .rjust, .zfill: return .text(try pad(method, text, arguments))
    case .expandtabs:
      let size = try arguments.bind(name, ["tabsize"])[0]?.asInt ?? 8
      return .text(try Self.expandTabs(text, size))
    case .encode:
      _ = try arguments.bind(name, ["encoding", "errors"])
      return .object(JinjaBytes(text.bytes))
    case .format:
      var formatter = try formatter(arguments.positional, try JinjaDict(arguments.named.map { (.text($0.0), $0.1) }))
      return .text(try formatter.format(text))
    case .formatMap:
      let values = try arguments.bind(name, ["mapping"], required: 1)
      guard case .dict(let dict)? = values[0] else { throw .typeError("format_map() argument must be a mapping") }
      var formatter = try formatter([], dict)
      return .text(try formatter.format(text))
    default:
      _ = try arguments.bind(name, [])
      return .bool(Self.question(method, text))
    }
  }

  private static func recased(_ text: JinjaText, _ method: JinjaMethodName) -> JinjaText {
    switch method {
    case .upper: text.uppercased
    case .lower: text.lowercased
    case .casefold: text.caseFolded
    case .title: text.titled
    case .capitalize: text.capitalized
    default: text.caseSwapped
    }
  }

  private static func question(_ method: JinjaMethodName, _ text: JinjaText) -> Bool {
    switch method {
    case .isalnum: text.allScalars(\.isPythonAlphanumeric)
    case .isalpha: text.allScalars(\.isPythonAlpha)
    case .isascii: text.bytes.allSatisfy { $0 < 0x80 }
    case .isdecimal: text.allScalars(\.isPythonDecimal)
    case .isdigit: text.allScalars(\.isPythonDigit)
    case .isnumeric: text.allScalars(\.isPythonNumeric)
    case .isidentifier: text.isIdentifier
    case .isprintable: text.scalars.allSatisfy(\.isPythonPrintable)
    case .isspace: text.allScalars(\.isPythonSpace)
    case .islower: text.isLower
    case .isupper: text.isUpper
    case .istitle: text.isTitle
    default: false
    }
  }

  private func formatter(_ positional: [JinjaValue], _ named: JinjaDict) throws(TemplateError) -> BraceFormat {
    BraceFormat(
      arguments: positional, named: named,
      attribute: { (value, name) throws(TemplateError) in try self.attribute(value, JinjaName(name)) },
      element: { (value, key) throws(TemplateError) in try self.element(value, key) })
  }

  /// The text of an argument that must be one.
  func text(_ value: JinjaValue?, _ what: String) throws(TemplateError) -> JinjaText {
    guard case .text(let text)? = value else {
      throw .typeError("\(what) must be str, not \(value?.typeName ?? "NoneType")")
    }
    return text
  }

  /// `separator.join(items)`; only the `join` filter converts items that are not strings.
  func join(
    _ items: [JinjaValue], separator: JinjaText, convertsItems: Bool
  ) throws(TemplateError) -> JinjaText {
    var bytes: [UInt8] = []
    for (place, item) in items.enumerated() {
      if place > 0 { bytes += separator.bytes }
      if convertsItems {
        bytes += try JinjaPrinter.text(item).bytes
      } else if case .text(let text) = item {
        bytes += separator.isMarkup ? text.escaped.bytes : text.bytes
      } else {
        throw .typeError("sequence item \(place): expected str instance, \(item.typeName) found")
      }
      try JinjaLimits.check(textBytes: bytes.count)
    }
    return JinjaText(bytes: bytes, isMarkup: separator.isMarkup && !convertsItems)
  }

  /// Byte range for optional scalar bounds, as every searching method takes them.
  private static func range(of text: JinjaText, _ start: JinjaValue?, _ end: JinjaValue?) -> Range<Int>? {
    guard start?.asInt != nil || end?.asInt != nil else { return 0..<text.bytes.count }
    let count = text.count
    func clamp(_ index: Int) -> Int { max(0, index < 0 ? index &+ count : index) }
    let first = clamp(start?.asInt ?? 0)
    let last = min(clamp(end?.asInt ?? count), count)
    return first <= last ? text.offset(of: first)..<text.offset(of: last) : nil
  }

  private func affix(
    _ method: JinjaMethodName, _ text: JinjaText, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> Bool {
    let values = try arguments.bind(method.rawValue, ["prefix", "start", "end"], required: 1)
    guard let range = Self.range(of: text, values[1], values[2]) else { return false }
    let part = range.count == text.bytes.count ? text : JinjaText(text.bytes[range])
    let message = "\(method.rawValue) first arg must be str or a tuple of str, not "
    func matches(_ value: JinjaValue) throws(TemplateError) -> Bool {
      guard case .text(let affix) = value else { throw .typeError(message + value.typeName) }
      return method == .startswith ? part.hasPrefix(affix) : part.hasSuffix(affix)
    }
    guard case .tuple(let options)? = values[0] else { return try matches(values[0] ?? .none) }
    for option in options.items where try matches(option) { return true }
    return false
  }

  private func search(
    _ method: JinjaMethodName, _ text: JinjaText, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind(method.rawValue, ["sub", "start", "end"], required: 1)
    let needle = try self.text(values[0], "\(method.rawValue)() argument 1")
    let range = Self.range(of: text, values[1], values[2])
    if method == .count {
      guard let range else { return .int(0) }
      if needle.isEmpty { return .int(JinjaText(text.bytes[range]).count + 1) }
      var count = 0
      var from = range.lowerBound
      while let found = text.find(needle, in: from..<range.upperBound) {
        count += 1
        from = found + needle.bytes.count
      }
      return .int(count)
    }
    let isLast = method == .rfind || method == .rindex
    if let range, let found = isLast ? text.findLast(needle, in: range) : text.find(needle, in: range) {
      return .int(text.index(ofByte: found))
    }
    if method == .index || method == .rindex { throw .valueError("substring not found") }
    return .int(-1)
  }

  private func partition(
    _ text: JinjaText, _ arguments: JinjaCallArguments, fromRight: Bool
  ) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind("partition", ["sep"], required: 1)
    let separator = try self.text(values[0], "partition() argument")
    if separator.isEmpty { throw .valueError("empty separator") }
    let whole = 0..<text.bytes.count
    let empty = JinjaText(bytes: [])
    let parts: [JinjaText]
    if let found = fromRight ? text.findLast(separator, in: whole) : text.find(separator, in: whole) {
      parts = [JinjaText(text.bytes[..<found]), separator, JinjaText(text.bytes[(found + separator.bytes.count)...])]
    } else {
      parts = fromRight ? [empty, empty, text] : [text, empty, empty]
    }
    return .tuple(try JinjaList(parts.map { .text($0.marked(like: text)) }))
  }

  private func split(
    _ text: JinjaText, _ arguments: JinjaCallArguments, fromRight: Bool
  ) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind("split", ["sep", "maxsplit"])
    let limit = values[1]?.asInt ?? -1
    let count = limit < 0 ? Int.max : limit
    var ranges: [Range<Int>] = []
    switch values[0] {
    case nil, JinjaValue.none?:
      ranges = fromRight ? Self.wordsFromRight(text, count) : Self.words(text, count)
    default:
      let separator = try self.text(values[0], "split() argument 1")
      if separator.isEmpty { throw .valueError("empty separator") }
      let size = separator.bytes.count
      if fromRight {
        // Searched backwards in reversed copies, so that many parts stay linear.
        let total = text.bytes.count
        let backwards = JinjaText(bytes: text.bytes.reversed())
        let wanted = JinjaText(bytes: separator.bytes.reversed())
        var start = 0
        while ranges.count < count, let found = backwards.find(wanted, in: start..<total) {
          ranges.append(total - found..<total - start)
          start = found + size
        }
        ranges.append(0..<total - start)
        ranges.reverse()
      } else {
        var start = 0
        while ranges.count < count, let found = text.find(separator, in: start..<text.bytes.count) {
          ranges.append(start..<found)
          start = found + size
        }
        ranges.append(start..<text.bytes.count)
      }
    }
    return .list(
      try JinjaList(ranges.map { .text(JinjaText(bytes: Array(text.bytes[$0]), isMarkup: text.isMarkup)) }))
  }

  private static func words(_ text: JinjaText, _ limit: Int) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    let end = text.bytes.count
    var place = 0
    while true {
      while place < end, text.scalar(at: place).isPythonSpace { place += JinjaText.width(of: text.bytes[place]) }
      if place >= end { return ranges }
      if ranges.count >= limit {
        ranges.append(place..<end)
        return ranges
      }
      let start = place
      while place < end, !text.scalar(at: place).isPythonSpace { place += JinjaText.width(of: text.bytes[place]) }
      place = min(place, end)
      ranges.append(start..<place)
    }
  }

  private static func wordsFromRight(_ text: JinjaText, _ limit: Int) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var end = text.bytes.count
    while true {
      while end > 0 {
        let last = text.scalar(before: end)
        if !last.scalar.isPythonSpace { break }
        end = last.start
      }
      if end == 0 { return ranges.reversed() }
      if ranges.count >= limit {
        ranges.append(0..<end)
        return ranges.reversed()
      }
      var start = end
      while start > 0 {
        let last = text.scalar(before: start)
        if last.scalar.isPythonSpace { break }
        start = last.start
      }
      ranges.append(start..<end)
      end = start
    }
  }

  static func lines(of text: JinjaText, keepEnds: Bool) -> [JinjaText] {
    var lines: [JinjaText] = []
    let end = text.bytes.count
    var start = 0
    var place = 0
    while place < end {
      let scalar = text.scalar(at: place)
      let width = JinjaText.width(of: text.bytes[place])
      guard scalar.isPythonLineBreak else {
        place += width
        continue
      }
      var after = place + width
      if scalar == "\r", after < end, text.bytes[after] == 0x0A { after += 1 }
      lines.append(JinjaText(text.bytes[start..<(keepEnds ? after : place)]))
      start = after
      place = after
    }
    if start < end { lines.append(JinjaText(text.bytes[start...])) }
    return lines
  }

  private func pad(
    _ method: JinjaMethodName, _ text: JinjaText, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaText {
    let values = try arguments.bind(method.rawValue, ["width", "fillchar"], required: 1)
    guard let width = values[0]?.asInt else {
      throw .typeError("'\((values[0] ?? .none).typeName)' object cannot be interpreted as an integer")
    }
    let fill = try values[1].map { (value) throws(TemplateError) in try self.text(value, "fillchar") } ?? " "
    if fill.count != 1 { throw .typeError("The fill character must be exactly one character long") }
    try JinjaLimits.check(textBytes: max(0, width))
    return Self.padded(text, to: width, fill: fill, method)
  }

  static func padded(_ text: JinjaText, to width: Int, fill: JinjaText, _ method: JinjaMethodName) -> JinjaText {
    let count = text.count
    if width <= count { return text }
    let missing = width - count
    func run(_ count: Int) -> [UInt8] { Array(repeatElement(fill.bytes, count: count).joined()) }
    switch method {
    case .ljust: return JinjaText(bytes: text.bytes + run(missing), isMarkup: text.isMarkup)
    case .rjust: return JinjaText(bytes: run(missing) + text.bytes, isMarkup: text.isMarkup)
    case .zfill:
      let hasSign = text.bytes.first == UInt8(ascii: "-") || text.bytes.first == UInt8(ascii: "+")
      let zeros = [UInt8](repeating: 0x30, count: missing)
      let sign = text.bytes.prefix(hasSign ? 1 : 0)
      return JinjaText(bytes: sign + zeros + text.bytes.dropFirst(sign.count), isMarkup: text.isMarkup)
    default:
      // Python leaves the odd place on the left only when the width is odd too.
      let left = missing / 2 + (missing & width & 1)
      return JinjaText(bytes: run(left) + text.bytes + run(missing - left), isMarkup: text.isMarkup)
    }
  }

  private static func expandTabs(_ text: JinjaText, _ size: Int) throws(TemplateError) -> JinjaText {
    var out: [UInt8] = []
    var column = 0
    for scalar in text.scalars {
      switch scalar {
      case "\t":
        let count = size > 0 ? size - column % size : 0
        try JinjaLimits.check(textBytes: count)
        out += [UInt8](repeating: 0x20, count: count)
        column += count
      case "\n", "\r":
        out.append(scalar: scalar)
        column = 0
      default:
        out.append(scalar: scalar)
        column += 1
      }
      try JinjaLimits.check(textBytes: out.count)
    }
    return JinjaText(bytes: out, isMarkup: text.isMarkup)
  }
}
