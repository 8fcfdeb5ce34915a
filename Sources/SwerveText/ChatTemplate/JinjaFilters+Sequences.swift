extension JinjaRenderer {
  /// How `sort`, `map(attribute=…)` and their like reach into an element: a dotted path, an index, or nothing.
  struct Getter {
    var path: [JinjaValue] = []
    var defaultValue: JinjaValue?
    var ignoresCase = false

    init(_ attribute: JinjaValue?, defaultValue: JinjaValue? = nil, ignoresCase: Bool = false) {
      self.ignoresCase = ignoresCase
      if let defaultValue, !defaultValue.isNone { self.defaultValue = defaultValue }
      switch attribute {
      case nil, JinjaValue.none?: break
      case .text(let text)?:
        for part in text.bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
          let name = JinjaText(part)
          let isIndex = !part.isEmpty && part.allSatisfy { (0x30...0x39).contains($0) }
          path.append(isIndex ? Int(name.string).map { .int($0) } ?? .text(name) : .text(name))
        }
      case let other?: path = [other]
      }
    }
  }

  func get(_ getter: Getter, from item: JinjaValue) throws(TemplateError) -> JinjaValue {
    var value = item
    for part in getter.path {
      value = try element(value, part)
      if let fallback = getter.defaultValue, value.isUndefined { value = fallback }
    }
    return getter.ignoresCase ? Self.ignoringCase(value) : value
  }

  private static func ignoringCase(_ value: JinjaValue) -> JinjaValue {
    if case .text(let text) = value { .text(text.lowercased) } else { value }
  }

  private func keys(_ items: [JinjaValue], _ getter: Getter) throws(TemplateError) -> [JinjaValue] {
    var keys: [JinjaValue] = []
    keys.reserveCapacity(items.count)
    for item in items { keys.append(try get(getter, from: item)) }
    return keys
  }

  func applySequence(
    _ filter: JinjaFilter, _ value: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    let name = filter.rawValue
    switch filter {
    case .join:
      let values = try arguments.bind(name, ["d", "attribute"])
      var items = try value.elements()
      if let attribute = values[1], !attribute.isNone { items = try keys(items, Getter(attribute)) }
      let separator = try JinjaPrinter.text(values[0] ?? .text(""))
      return .text(try join(items, separator: separator, convertsItems: true))
    case .first:
      _ = try arguments.bind(name, [])
      if case .object(let iterator as JinjaIterator) = value {
        return iterator.takeOne() ?? .undefined(JinjaUndefined("No first item, sequence was empty."))
      }
      return try value.elements().first ?? .undefined(JinjaUndefined("No first item, sequence was empty."))
    case .last:
      _ = try arguments.bind(name, [])
      if case .object(is JinjaIterator) = value { throw .typeError("'\(value.typeName)' object is not reversible") }
      return try value.elements().last ?? .undefined(JinjaUndefined("No last item, sequence was empty."))
    case .random:
      _ = try arguments.bind(name, [])
      return try value.elements().randomElement()
        ?? .undefined(JinjaUndefined("No random item, sequence was empty."))
    case .reverse:
      _ = try arguments.bind(name, [])
      if case .text(let text) = value { return .text(JinjaText(text.scalars.reversed()).marked(like: text)) }
      guard value.isIterable else { throw .argument("argument must be iterable") }
      return .object(try JinjaIterator(try value.elements().reversed(), name: "list_reverseiterator"))
    case .sort:
      let values = try arguments.bind(name, ["reverse", "case_sensitive", "attribute"])
      return .list(try JinjaList(try sort(try value.elements(), values)))
    case .unique:
      let values = try arguments.bind(name, ["case_sensitive", "attribute"])
      let getter = Getter(values[1], ignoresCase: values[0]?.isTrue != true)
      var seen: Set<JinjaKey> = []
      var items: [JinjaValue] = []
      for item in try value.elements() where seen.insert(try JinjaKey(try get(getter, from: item))).inserted {
        items.append(item)
      }
      return .object(try JinjaIterator(items))
    case .min, .max:
      let values = try arguments.bind(name, ["case_sensitive", "attribute"])
      return try extreme(filter, try value.elements(), Getter(values[1], ignoresCase: values[0]?.isTrue != true))
    case .sum:
      let values = try arguments.bind(name, ["attribute", "start"])
      var total = values[1] ?? .int(0)
      if case .text = total { throw .typeError("sum() can't sum strings [use ''.join(seq) instead]") }
      for item in try keys(try value.elements(), Getter(values[0])) {
        total = try JinjaValue.apply(.add, total, item)
        try tick()
      }
      return total
    case .groupby: return try group(value, arguments)
    case .dictsort: return try sortMembers(value, arguments)
    case .batch, .slice: return try cut(filter, try value.elements(), arguments)
    case .map: return try map(value, arguments)
    default: return try select(filter, value, arguments)
    }
  }

  private func sort(_ items: [JinjaValue], _ values: [JinjaValue?]) throws(TemplateError) -> [JinjaValue] {
    let ignoresCase = values[1]?.isTrue != true
    // Several attributes with commas between them sort by the first, then the second, and so on.
    var keys: [JinjaValue] = []
    if case .text(let text)? = values[2], text.bytes.contains(UInt8(ascii: ",")) {
      let getters = text.bytes.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        .map { Getter(.text(JinjaText($0)), ignoresCase: ignoresCase) }
      for item in items {
        var parts: [JinjaValue] = []
        for getter in getters { parts.append(try get(getter, from: item)) }
        keys.append(.list(try JinjaList(parts)))
      }
    } else {
      keys = try self.keys(items, Getter(values[2], ignoresCase: ignoresCase))
    }
    return try items.sorted(by: keys, isReversed: values[0]?.isTrue ?? false)
  }

  private func extreme(
    _ filter: JinjaFilter, _ items: [JinjaValue], _ getter: Getter
  ) throws(TemplateError) -> JinjaValue {
    guard var best = items.first else {
      return .undefined(JinjaUndefined("No aggregated item, sequence was empty."))
    }
    var bestKey = try get(getter, from: best)
    for item in items.dropFirst() {
      let key = try get(getter, from: item)
      let isBetter =
        filter == .min ? try key.order(bestKey, symbol: "<") == -1 : try key.order(bestKey, symbol: ">") == 1
      if isBetter { (best, bestKey) = (item, key) }
    }
    return best
  }

  private func group(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind("groupby", ["attribute", "default", "case_sensitive"], required: 1)
    let ignoresCase = values[2]?.isTrue != true
    let getter = Getter(values[0], defaultValue: values[1], ignoresCase: ignoresCase)
    let items = try value.elements()
    let sorted = try items.sorted(by: try keys(items, getter), isReversed: false)
    var groups: [(key: JinjaValue, items: [JinjaValue])] = []
    for item in sorted {
      let key = try get(getter, from: item)
      if let last = groups.last, last.key.isEqual(to: key) {
        groups[groups.count - 1].items.append(item)
      } else {
        groups.append((key, [item]))
      }
    }
    let plain = Getter(values[0], defaultValue: values[1])
    var result: [JinjaValue] = []
    for group in groups {
      let key = ignoresCase ? try get(plain, from: group.items[0]) : group.key
      result.append(.tuple(try JinjaList([key, .list(try JinjaList(group.items))], isGroup: true)))
    }
    return .list(try JinjaList(result))
  }

  private func sortMembers(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])
    let by = try JinjaPrinter.text(values[1] ?? .text("key"))
    guard by == "key" || by == "value" else { throw .argument("You can only sort by either \"key\" or \"value\"") }
    if case .undefined(let undefined) = value { throw undefined.error }
    guard case .dict(let dict) = value else {
      throw TemplateError(
        kind: .python, type: "AttributeError", message: "'\(value.typeName)' object has no attribute 'items'")
    }
    var keys = by == "key" ? dict.keys : dict.values
    if values[0]?.isTrue != true { keys = keys.map { Self.ignoringCase($0) } }
    let pairs = try JinjaView(.items, dict).items()
    return .list(try JinjaList(try pairs.sorted(by: keys, isReversed: values[2]?.isTrue ?? false)))
  }

  private func cut(
    _ filter: JinjaFilter, _ items: [JinjaValue], _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind(
      filter.rawValue, [filter == .batch ? "linecount" : "slices", "fill_with"], required: 1)
    if case .undefined(let undefined)? = values[0] { throw undefined.error }
    guard let count = values[0]?.asInt else {
      throw .typeError("'\((values[0] ?? .none).typeName)' object cannot be interpreted as an integer")
    }
    if count > JinjaLimits.rangeLength { throw .limit("\(filter.rawValue) of more than \(JinjaLimits.rangeLength)") }
    let fill = values[1].flatMap { $0.isNone ? nil : $0 }
    var parts: [JinjaValue] = []
    if filter == .batch {
      let size = Swift.max(1, count)
      var start = 0
      while start < items.count {
        var part = Array(items[start..<Swift.min(start + size, items.count)])
        start += part.count
        if let fill, part.count < count { part += Array(repeating: fill, count: count - part.count) }
        parts.append(.list(try JinjaList(part)))
      }
    } else {
      if count == 0 { throw .zeroDivision("integer division or modulo by zero") }
      if count < 0 { return .object(try JinjaIterator([])) }
      let (size, extra) = items.count.quotientAndRemainder(dividingBy: count)
      var start = 0
      for slice in 0..<count {
        let end = start + size + (slice < extra ? 1 : 0)
        var part = Array(items[start..<end])
        if let fill, slice >= extra { part.append(fill) }
        parts.append(.list(try JinjaList(part)))
        start = end
      }
    }
    return .object(try JinjaIterator(parts))
  }

  // MARK: map and select

  private func map(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    guard value.isTrue else { return .object(try JinjaIterator([])) }
    var results: [JinjaValue] = []
    if arguments.positional.isEmpty, let place = arguments.named.firstIndex(where: { $0.0 == "attribute" }) {
      let fallback = arguments.named.first { $0.0 == "default" }?.1
      if let extra = arguments.named.first(where: { $0.0 != "attribute" && $0.0 != "default" }) {
        throw .argument("Unexpected keyword argument \(JinjaPrinter.quoted(extra.0).string)")
      }
      let getter = Getter(arguments.named[place].1, defaultValue: fallback)
      for item in try value.elements() {
        try tick()
        results.append(try get(getter, from: item))
      }
    } else {
      guard let first = arguments.positional.first else { throw .argument("map requires a filter argument") }
      let rest = JinjaCallArguments(positional: Array(arguments.positional.dropFirst()), named: arguments.named)
      let items = try value.elements()
      let filter = items.isEmpty ? nil : try named(first, "filter") { JinjaFilter(rawValue: $0) }
      for item in items {
        try tick()
        if let filter { results.append(try apply(filter, item, rest)) }
      }
    }
    return .object(try JinjaIterator(results))
  }

  private func select(
    _ filter: JinjaFilter, _ value: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    guard value.isTrue else { return .object(try JinjaIterator([])) }
    var positional = arguments.positional[...]
    var getter = Getter(nil)
    if filter == .selectattr || filter == .rejectattr {
      guard let attribute = positional.popFirst() else {
        throw .argument("Missing parameter for attribute name")
      }
      getter = Getter(attribute)
    }
    let wanted = filter == .select || filter == .selectattr
    let items = try value.elements()
    var test: JinjaTest?
    if let name = positional.popFirst(), !items.isEmpty {
      test = try named(name, "test") { JinjaTest(rawValue: $0) }
    }
    let rest = JinjaCallArguments(positional: Array(positional), named: arguments.named)
    var results: [JinjaValue] = []
    for item in items {
      try tick()
      let subject = try get(getter, from: item)
      let passes: Bool
      if let test { passes = try check(test, subject, rest) } else { passes = subject.isTrue }
      if passes == wanted { results.append(item) }
    }
    return .object(try JinjaIterator(results))
  }

  /// The filter or test an argument names.
  private func named<Kind>(
    _ value: JinjaValue, _ what: String, _ find: (String) -> Kind?
  ) throws(TemplateError) -> Kind {
    if case .text(let name) = value, let found = find(name.string) { return found }
    var message = "No \(what) named \(try JinjaPrinter.representation(value).string)."
    if case .undefined(let undefined) = value {
      message += " (\(undefined.error.message); did you forget to quote the callable name?)"
    }
    throw .runtime(message)
  }
}
