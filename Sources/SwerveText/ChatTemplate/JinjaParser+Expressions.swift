extension JinjaParser {
  mutating func parseExpression(allowsConditional: Bool = true) throws(TemplateError) -> JinjaExpression {
    try descend()
    defer { ascend() }
    return try allowsConditional ? parseConditional() : parseOr()
  }

  private mutating func parseConditional() throws(TemplateError) -> JinjaExpression {
    var line = current.line
    let start = occurrences.count
    var value = try parseOr()
    while try skip(word: "if") {
      let test = try parseOr()
      var otherwise: JinjaExpression?
      if try skip(word: "else") {
        try descend()
        defer { ascend() }
        otherwise = try parseConditional()
      }
      for place in start..<occurrences.count { occurrences[place].isConditional = true }
      value = try make(
        .conditional(test: test, then: value, otherwise: otherwise, line: line),
        [test, value] + (otherwise.map { [$0] } ?? []))
      line = current.line
    }
    return value
  }

  private mutating func parseOr() throws(TemplateError) -> JinjaExpression {
    var left = try parseAnd()
    while try skip(word: "or") {
      let right = try parseAnd()
      left = try make(.or(left, right), left, right)
    }
    return left
  }

  private mutating func parseAnd() throws(TemplateError) -> JinjaExpression {
    var left = try parseNot()
    while try skip(word: "and") {
      let right = try parseNot()
      left = try make(.and(left, right), left, right)
    }
    return left
  }

  private mutating func parseNot() throws(TemplateError) -> JinjaExpression {
    guard try skip(word: "not") else { return try parseComparison() }
    try descend()
    defer { ascend() }
    let value = try parseNot()
    return try make(.not(value), value)
  }

  private mutating func parseComparison() throws(TemplateError) -> JinjaExpression {
    let first = try parseSum()
    var rest: [(JinjaComparison, JinjaExpression)] = []
    while true {
      if case .symbol(let symbol) = current.kind, let comparison = JinjaComparison(rawValue: symbol) {
        try advance()
        rest.append((comparison, try parseSum()))
      } else if try skip(word: "in") {
        rest.append((.contained, try parseSum()))
      } else if isAt(word: "not"), look.kind == .name, look.text == "in" {
        try advance()
        try advance()
        rest.append((.notContained, try parseSum()))
      } else {
        break
      }
    }
    return rest.isEmpty ? first : try make(.compare(first, rest), [first] + rest.map(\.1))
  }

  private mutating func parseSum() throws(TemplateError) -> JinjaExpression {
    var left = try parseConcat()
    while isAt(symbol: "+") || isAt(symbol: "-") {
      let operation: JinjaOperator = isAt(symbol: "+") ? .add : .subtract
      try advance()
      let right = try parseConcat()
      left = try make(.binary(operation, left, right), left, right)
    }
    return left
  }

  private mutating func parseConcat() throws(TemplateError) -> JinjaExpression {
    let first = try parseProduct()
    guard isAt(symbol: "~") else { return first }
    var parts = [first]
    while try skip(symbol: "~") { parts.append(try parseProduct()) }
    return try make(.concat(parts), parts)
  }

  private mutating func parseProduct() throws(TemplateError) -> JinjaExpression {
    var left = try parsePower()
    while case .symbol(let symbol) = current.kind, ["*", "/", "//", "%"].contains(symbol),
      let operation = JinjaOperator(rawValue: symbol)
    {
      try advance()
      let right = try parsePower()
      left = try make(.binary(operation, left, right), left, right)
    }
    return left
  }

  private mutating func parsePower() throws(TemplateError) -> JinjaExpression {
    var left = try parseUnary()
    // The reference writes `a ** b ** c` out to Python as `((a ** b) ** c)`.
    while try skip(symbol: "**") {
      let right = try parseUnary()
      left = try make(.binary(.power, left, right), left, right)
    }
    return left
  }

  private mutating func parseUnary(withFilters: Bool = true) throws(TemplateError) -> JinjaExpression {
    try descend()
    defer { ascend() }
    var value: JinjaExpression
    if try skip(symbol: "-") {
      let operand = try parseUnary(withFilters: false)
      value = try make(.negative(operand), operand)
    } else if try skip(symbol: "+") {
      let operand = try parseUnary(withFilters: false)
      value = try make(.positive(operand), operand)
    } else {
      value = try parsePrimary()
    }
    value = try parsePostfix(value)
    return withFilters ? try parseFilterChain(value) : value
  }

  mutating func parsePrimary() throws(TemplateError) -> JinjaExpression {
    let token = current
    switch token.kind {
    case .name:
      try advance()
      let word = token.text.string
      switch word {
      case "true", "True": return try make(.literal(.bool(true)))
      case "false", "False": return try make(.literal(.bool(false)))
      case "none", "None": return try make(.literal(.none))
      default: return try make(.name(occur(.load, word, line: token.line)))
      }
    case .string:
      var bytes: [UInt8] = []
      while isAt(.string) { bytes += try advance().text.bytes }
      return try make(.literal(.text(JinjaText(bytes: bytes))))
    case .integer, .float:
      try advance()
      return try make(.literal(token.number))
    case .symbol("("):
      try advance()
      let value = try parseTuple(hasParentheses: true)
      try expect(symbol: ")")
      return value
    case .symbol("["): return try parseList()
    case .symbol("{"): return try parseDict()
    default: throw fail("unexpected \(quoted(token.described))")
    }
  }

  private func isTupleEnd(_ endWord: String?) -> Bool {
    switch current.kind {
    case .variableEnd, .blockEnd, .symbol(")"): true
    default: endWord.map { isAt(word: $0) } ?? false
    }
  }

  /// One expression, or several with commas between them. `endWord` also ends it, as `in` does in `for a, b in`.
  mutating func parseTuple(
    isSimple: Bool = false, allowsConditional: Bool = true, endWord: String? = nil, hasParentheses: Bool = false
  ) throws(TemplateError) -> JinjaExpression {
    var items: [JinjaExpression] = []
    var isTuple = false
    while true {
      if !items.isEmpty { try expect(symbol: ",") }
      if isTupleEnd(endWord) { break }
      items.append(try isSimple ? parseSimple() : parseExpression(allowsConditional: allowsConditional))
      guard isAt(symbol: ",") else { break }
      isTuple = true
    }
    if !isTuple {
      if let only = items.first { return only }
      if !hasParentheses {
        throw fail("Expected an expression, got \(quoted(current.described))")
      }
    }
    return try make(.tuple(items), items)
  }

  private mutating func parseSimple() throws(TemplateError) -> JinjaExpression {
    try descend()
    defer { ascend() }
    return try parsePrimary()
  }

  private mutating func parseList() throws(TemplateError) -> JinjaExpression {
    try expect(symbol: "[")
    var items: [JinjaExpression] = []
    while !isAt(symbol: "]") {
      if !items.isEmpty { try expect(symbol: ",") }
      if isAt(symbol: "]") { break }
      items.append(try parseExpression())
    }
    try expect(symbol: "]")
    return try make(.list(items), items)
  }

  private mutating func parseDict() throws(TemplateError) -> JinjaExpression {
    try expect(symbol: "{")
    var items: [(JinjaExpression, JinjaExpression)] = []
    while !isAt(symbol: "}") {
      if !items.isEmpty { try expect(symbol: ",") }
      if isAt(symbol: "}") { break }
      let key = try parseExpression()
      try expect(symbol: ":")
      items.append((key, try parseExpression()))
    }
    try expect(symbol: "}")
    return try make(.dict(items), items.map(\.0) + items.map(\.1))
  }

  // MARK: After a value

  private mutating func parsePostfix(_ start: JinjaExpression) throws(TemplateError) -> JinjaExpression {
    var value = start
    while true {
      if isAt(symbol: ".") {
        value = try parseAttribute(value)
      } else if isAt(symbol: "[") {
        value = try parseSubscript(value)
      } else if isAt(symbol: "(") {
        value = try parseCall(value)
      } else {
        return value
      }
    }
  }

  private mutating func parseFilterChain(_ start: JinjaExpression) throws(TemplateError) -> JinjaExpression {
    var value = start
    while true {
      if isAt(symbol: "|") {
        value = try parseFilters(value)
      } else if isAt(word: "is") {
        value = try parseTest(value)
      } else if isAt(symbol: "(") {
        value = try parseCall(value)
      } else {
        return value
      }
    }
  }

  private mutating func parseAttribute(_ value: JinjaExpression) throws(TemplateError) -> JinjaExpression {
    try expect(symbol: ".")
    let token = try advance()
    switch token.kind {
    case .name: return try make(.attribute(value, JinjaName(token.text)), value)
    case .integer:
      let index = try make(.literal(token.number))
      return try make(.element(value, index), value)
    default: throw fail("expected name or number", line: token.line)
    }
  }

  private mutating func parseSubscript(_ value: JinjaExpression) throws(TemplateError) -> JinjaExpression {
    try expect(symbol: "[")
    var items: [JinjaExpression] = []
    var slice: JinjaSlice?
    while !isAt(symbol: "]") {
      if !items.isEmpty || slice != nil { try expect(symbol: ",") }
      if slice != nil { throw fail("a slice cannot be part of a tuple") }
      if isAt(symbol: ":") {
        slice = try parseSlice(from: nil)
      } else {
        let item = try parseExpression()
        if isAt(symbol: ":") {
          if !items.isEmpty { throw fail("a slice cannot be part of a tuple") }
          slice = try parseSlice(from: item)
        } else {
          items.append(item)
        }
      }
    }
    try expect(symbol: "]")
    if let slice {
      return try make(.slice(value, slice), [value] + [slice.start, slice.stop, slice.step].compactMap { $0 })
    }
    let index = items.count == 1 ? items[0] : try make(.tuple(items), items)
    return try make(.element(value, index), value, index)
  }

  private mutating func parseSlice(from start: JinjaExpression?) throws(TemplateError) -> JinjaSlice {
    var slice = JinjaSlice(start: start)
    try expect(symbol: ":")
    if !isAt(symbol: ":"), !isAt(symbol: "]"), !isAt(symbol: ",") { slice.stop = try parseExpression() }
    if try skip(symbol: ":"), !isAt(symbol: "]"), !isAt(symbol: ",") { slice.step = try parseExpression() }
    return slice
  }

  mutating func parseArguments() throws(TemplateError) -> JinjaArguments {
    let line = current.line
    try expect(symbol: "(")
    var arguments = JinjaArguments()
    var isFirst = true
    func ensure(_ isFine: Bool) throws(TemplateError) {
      if !isFine { throw .syntax("invalid syntax for function call expression", line: line) }
    }
    while !isAt(symbol: ")") {
      if !isFirst {
        try expect(symbol: ",")
        if isAt(symbol: ")") { break }
      }
      isFirst = false
      if try skip(symbol: "*") {
        try ensure(arguments.star == nil && arguments.doubleStar == nil)
        arguments.star = try parseExpression()
      } else if try skip(symbol: "**") {
        try ensure(arguments.doubleStar == nil)
        arguments.doubleStar = try parseExpression()
      } else if isAt(.name), look.kind == .symbol("=") {
        try ensure(arguments.doubleStar == nil)
        let name = try advance().text
        try advance()
        if arguments.named.contains(where: { $0.0 == name }) {
          throw .syntax("keyword argument repeated: \(name.string)", line: line)
        }
        arguments.named.append((name, try parseExpression()))
      } else {
        try ensure(arguments.star == nil && arguments.doubleStar == nil && arguments.named.isEmpty)
        arguments.positional.append(try parseExpression())
      }
    }
    try expect(symbol: ")")
    return arguments
  }

  private mutating func parseCall(_ value: JinjaExpression) throws(TemplateError) -> JinjaExpression {
    let arguments = try parseArguments()
    return try make(.call(value, arguments), [value] + arguments.all)
  }

  private mutating func parseDottedName() throws(TemplateError) -> (name: String, line: Int) {
    let token = try expect(.name)
    var name = token.text.string
    while try skip(symbol: ".") { name += "." + (try expect(.name).text.string) }
    return (name, token.line)
  }

  /// Filters after `|`; with `startsInline` the first one has no bar before it.
  mutating func parseFilters(
    _ start: JinjaExpression, startsInline: Bool = false
  ) throws(TemplateError) -> JinjaExpression {
    var value = start
    var isInline = startsInline
    while isInline || isAt(symbol: "|") {
      if !isInline { try advance() }
      isInline = false
      let (name, line) = try parseDottedName()
      let arguments = isAt(symbol: "(") ? try parseArguments() : JinjaArguments()
      let filter = JinjaFilter(rawValue: name)
      _ = occur(.filter, name, line: line, isKnown: filter != nil)
      value = try make(.filter(value, name: name, filter, arguments), [value] + arguments.all)
    }
    return value
  }

  private mutating func parseTest(_ value: JinjaExpression) throws(TemplateError) -> JinjaExpression {
    try advance()
    let isNegated = try skip(word: "not")
    let (name, line) = try parseDottedName()
    var arguments = JinjaArguments()
    switch current.kind {
    case .symbol("("): arguments = try parseArguments()
    case .name, .string, .integer, .float, .symbol("["), .symbol("{"):
      if isAt(word: "else") || isAt(word: "or") || isAt(word: "and") { break }
      if isAt(word: "is") { throw fail("You cannot chain multiple tests with is") }
      let argument = try parsePostfix(parseSimple())
      arguments.positional = [argument]
    default: break
    }
    let test = JinjaTest(rawValue: name)
    _ = occur(.test, name, line: line, isKnown: test != nil)
    let result = try make(.test(value, name: name, test, arguments), [value] + arguments.all)
    return isNegated ? try make(.not(result), result) : result
  }
}
