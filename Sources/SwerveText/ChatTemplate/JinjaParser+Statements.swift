extension JinjaParser {
  /// The whole template.
  mutating func parseTemplate() throws(TemplateError) -> [JinjaStatement] { try parseBody(until: nil) }

  private func isAtEnd(of words: [String]?) -> Bool {
    guard let words, current.kind == .name else { return false }
    return words.contains { current.text == JinjaText($0) }
  }

  /// Text and tags up to one of the tags `words`, whose name is then the current token.
  private mutating func parseBody(until words: [String]?) throws(TemplateError) -> [JinjaStatement] {
    try descend()
    defer { ascend() }
    if let words { endStack.append(words) }
    defer { if words != nil { endStack.removeLast() } }
    var body: [JinjaStatement] = []
    while true {
      switch current.kind {
      case .data: body.append(.text(try advance().text.bytes))
      case .variableBegin:
        let line = try advance().line
        let start = occurrences.count
        let value = try parseTuple()
        body.append(.print([value], start..<occurrences.count, line: line))
        try expect(.variableEnd)
      case .blockBegin:
        try advance()
        if isAtEnd(of: words) { return body }
        body.append(try parseStatement())
        try expect(.blockEnd)
      default:
        if let words, current.kind == .end { throw endOfTemplate(words) }
        return body
      }
    }
  }

  /// The rest of a tag, then its body; `words` end it. With `drops` the end tag's name is consumed too.
  private mutating func parseStatements(_ words: [String], drops: Bool = false) throws(TemplateError)
    -> [JinjaStatement]
  {
    _ = try skip(symbol: ":")
    try expect(.blockEnd)
    let body = try parseBody(until: words)
    if drops { try advance() }
    return body
  }

  private mutating func parseScoped(_ words: [String], line: Int) throws(TemplateError) -> JinjaBody {
    let scope = newScope()
    return JinjaBody(statements: try parseStatements(words, drops: true), scope: scope, line: line)
  }

  private mutating func parseStatement() throws(TemplateError) -> JinjaStatement {
    guard isAt(.name) else { throw fail("tag name expected") }
    let word = current.text.string
    let line = current.line
    tagStack.append(word)
    let statement: JinjaStatement
    switch word {
    case "for": statement = try parseFor()
    case "if": statement = try parseIf()
    case "set": statement = try parseSet()
    case "macro": statement = try parseMacro()
    case "call": statement = try parseCallBlock()
    case "filter": statement = try parseFilterBlock()
    case "with": statement = try parseWith()
    case "block": statement = try parseBlock()
    case "print": statement = try parsePrint()
    case "generation":
      try advance()
      statement = .generation(try parseScoped(["endgeneration"], line: line))
    case "autoescape":
      try advance()
      let start = occurrences.count
      let value = try parseExpression()
      let span = start..<occurrences.count
      statement = .autoescape(value, span, try parseScoped(["endautoescape"], line: line))
    case "break":
      try advance()
      statement = .breakLoop(line: line)
    case "continue":
      try advance()
      statement = .continueLoop(line: line)
    case "include", "import", "from", "extends": statement = try parseLoader()
    default:
      tagStack.removeLast()
      throw unknownTag(word)
    }
    tagStack.removeLast()
    return statement
  }

  // MARK: Assignment

  /// A name, or names with commas; with `allowsAttributes` also `namespace.attribute`.
  private mutating func parseTarget(
    endWord: String? = nil, role: JinjaOccurrence.Role = .store, allowsAttributes: Bool = false
  ) throws(TemplateError) -> (JinjaTarget, JinjaSpan) {
    let start = occurrences.count
    let line = current.line
    var targets: [JinjaTarget] = []
    var isTuple = false
    while true {
      if !targets.isEmpty { try expect(symbol: ",") }
      if isTargetEnd(endWord) { break }
      targets.append(try parseOneTarget(endWord: endWord, role: role, allowsAttributes: allowsAttributes))
      guard isAt(symbol: ",") else { break }
      isTuple = true
    }
    if targets.isEmpty { throw fail("Expected an expression, got \(quoted(current.described))", line: line) }
    return (isTuple ? .tuple(targets) : targets[0], start..<occurrences.count)
  }

  private func isTargetEnd(_ endWord: String?) -> Bool {
    switch current.kind {
    case .variableEnd, .blockEnd, .symbol(")"): true
    default: endWord.map { isAt(word: $0) } ?? false
    }
  }

  private mutating func parseOneTarget(
    endWord: String?, role: JinjaOccurrence.Role, allowsAttributes: Bool
  ) throws(TemplateError) -> JinjaTarget {
    try descend()
    defer { ascend() }
    let token = current
    switch token.kind {
    case .name:
      let word = token.text.string
      if ["true", "false", "none", "True", "False", "None"].contains(word) {
        throw fail("can't assign to 'const'")
      }
      try advance()
      if allowsAttributes, try skip(symbol: ".") {
        let attribute = try expect(.name).text
        return .attribute(occur(.load, word, line: token.line), attribute)
      }
      return .name(occur(role, word, line: token.line))
    case .symbol("("):
      try advance()
      // Inside parentheses the reference reads whole expressions, and then asks whether each can be assigned to.
      var items: [JinjaTarget] = []
      var isTuple = false
      while !isAt(symbol: ")") {
        if !items.isEmpty { try expect(symbol: ",") }
        if isAt(symbol: ")") { break }
        items.append(try parseOneTarget(endWord: nil, role: role, allowsAttributes: false))
        if isAt(symbol: ",") {
          isTuple = true
        } else if !isAt(symbol: ")") {
          throw fail("can't assign to an expression")
        }
      }
      try expect(symbol: ")")
      return items.count == 1 && !isTuple ? items[0] : .tuple(items)
    case .string, .integer, .float: throw fail("can't assign to 'const'")
    case .symbol("["): throw fail("can't assign to 'list'")
    case .symbol("{"): throw fail("can't assign to 'dict'")
    default: throw fail("unexpected \(quoted(token.described))")
    }
  }

  private mutating func parseSet() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    let (target, targetSpan) = try parseTarget(allowsAttributes: true)
    let start = occurrences.count
    if try skip(symbol: "=") {
      let value = try parseTuple()
      return .assign(target, targetSpan, value, start..<occurrences.count, line: line)
    }
    var filter: JinjaExpression?
    if isAt(symbol: "|") { filter = try parseFilters(make(.captured)) }
    let filterSpan = start..<occurrences.count
    let body = try parseScoped(["endset"], line: line)
    return .assignBlock(
      JinjaAssignBlock(target: target, targetSpan: targetSpan, filter: filter, filterSpan: filterSpan, body: body))
  }

  private mutating func parseWith() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    var with = JinjaWith(
      targets: [], targetSpans: [], values: [], valueSpans: [], body: JinjaBody(statements: [], scope: 0, line: line))
    while !isAt(.blockEnd) {
      if !with.targets.isEmpty { try expect(symbol: ",") }
      let targetStart = occurrences.count
      // One name only: a comma here separates assignments.
      let target = try parseOneTarget(endWord: nil, role: .parameter, allowsAttributes: false)
      let targetSpan = targetStart..<occurrences.count
      try expect(symbol: "=")
      let start = occurrences.count
      let value = try parseExpression()
      with.targets.append(target)
      with.targetSpans.append(targetSpan)
      with.values.append(value)
      with.valueSpans.append(start..<occurrences.count)
    }
    with.body = try parseScoped(["endwith"], line: line)
    return .with(with)
  }

  // MARK: Control

  private mutating func parseIf() throws(TemplateError) -> JinjaStatement {
    var branches: [JinjaBranch] = []
    while true {
      let line = try advance().line
      let start = occurrences.count
      let test = try parseTuple(allowsConditional: false)
      let span = start..<occurrences.count
      let body = try parseStatements(["elif", "else", "endif"])
      branches.append(JinjaBranch(test: test, span: span, body: body, line: line))
      if isAt(word: "elif") { continue }
      if try advance().text == "else" {
        return .branch(branches, otherwise: try parseStatements(["endif"], drops: true))
      }
      return .branch(branches, otherwise: [])
    }
  }

  private mutating func parseFor() throws(TemplateError) -> JinjaStatement {
    let whole = occurrences.count
    let line = try advance().line
    let (target, targetSpan) = try parseTarget(endWord: "in")
    try expect(word: "in")
    let sourceStart = occurrences.count
    let source = try parseTuple(allowsConditional: false, endWord: "recursive")
    let sourceSpan = sourceStart..<occurrences.count
    // The test has a scope of its own in which the target's names live once more.
    let copyStart = occurrences.count
    let testTarget = copied(target)
    let testTargetSpan = copyStart..<occurrences.count
    var test: JinjaExpression?
    if try skip(word: "if") { test = try parseExpression() }
    let testSpan = testTargetSpan.upperBound..<occurrences.count
    let isRecursive = try skip(word: "recursive")
    let bodyScope = newScope()
    let testScope = newScope()
    let bodyStart = occurrences.count
    let body = JinjaBody(statements: try parseStatements(["endfor", "else"]), scope: bodyScope, line: line)
    let bodySpan = bodyStart..<occurrences.count
    var otherwise: JinjaBody?
    if try advance().text == "else" { otherwise = try parseScoped(["endfor"], line: line) }
    return .loop(
      JinjaForLoop(
        target: target, targetSpan: targetSpan, source: source, sourceSpan: sourceSpan, test: test,
        testTarget: testTarget, testTargetSpan: testTargetSpan, testSpan: testSpan, body: body, bodySpan: bodySpan,
        otherwise: otherwise, isRecursive: isRecursive, testScope: testScope, wholeSpan: whole..<occurrences.count))
  }

  private mutating func copied(_ target: JinjaTarget) -> JinjaTarget {
    switch target {
    case .name(let place):
      return .name(occur(occurrences[place].role, occurrences[place].name, line: occurrences[place].line))
    case .attribute(let place, let name):
      return .attribute(occur(.load, occurrences[place].name, line: occurrences[place].line), name)
    case .tuple(let targets):
      var copies: [JinjaTarget] = []
      for target in targets { copies.append(copied(target)) }
      return .tuple(copies)
    }
  }

  // MARK: Macros and blocks

  private mutating func parseMacroRest(
    name: String?, line: Int, endWord: String, call: ((inout JinjaParser) throws(TemplateError) -> Void)? = nil
  ) throws(TemplateError) -> JinjaMacroSyntax {
    let start = occurrences.count
    var parameters: [Int] = []
    var names: [JinjaText] = []
    var defaults: [JinjaExpression] = []
    if call == nil || isAt(symbol: "(") {
      try expect(symbol: "(")
      while !isAt(symbol: ")") {
        if !parameters.isEmpty { try expect(symbol: ",") }
        let token = try expect(.name)
        if names.contains(token.text) {
          throw fail("duplicate argument '\(token.text.string)' in function definition", line: token.line)
        }
        parameters.append(occur(.parameter, token.text.string, line: token.line))
        names.append(token.text)
        if try skip(symbol: "=") {
          defaults.append(try parseExpression())
        } else if !defaults.isEmpty {
          throw fail("non-default argument follows default argument")
        }
      }
      try expect(symbol: ")")
    }
    let signature = start..<occurrences.count
    try call?(&self)
    let bodyStart = occurrences.count
    let body = try parseScoped([endWord], line: line)
    return JinjaMacroSyntax(
      name: name, parameters: parameters, parameterNames: names, defaults: defaults, signatureSpan: signature,
      body: body, bodySpan: bodyStart..<occurrences.count)
  }

  private mutating func parseMacro() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    let token = try expect(.name)
    let place = occur(.store, token.text.string, line: token.line)
    return .macro(try parseMacroRest(name: token.text.string, line: line, endWord: "endmacro"), name: place)
  }

  private mutating func parseCallBlock() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    var call: JinjaExpression?
    var span = 0..<0
    let macro = try parseMacroRest(name: nil, line: line, endWord: "endcall") { parser throws(TemplateError) in
      let start = parser.occurrences.count
      let value = try parser.parseExpression()
      guard case .call = value.node else { throw TemplateError.syntax("expected call", line: line) }
      call = value
      span = start..<parser.occurrences.count
    }
    guard let call else { throw .syntax("expected call", line: line) }
    return .callBlock(macro, call, span)
  }

  private mutating func parseFilterBlock() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    let start = occurrences.count
    let filter = try parseFilters(make(.captured), startsInline: true)
    let span = start..<occurrences.count
    return .filterBlock(JinjaFilterBlock(filter: filter, span: span, body: try parseScoped(["endfilter"], line: line)))
  }

  private mutating func parseBlock() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    let name = try expect(.name).text.string
    _ = try skip(word: "scoped")
    _ = try skip(word: "required")
    if isAt(symbol: "-") {
      throw fail(
        "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore instead."
      )
    }
    if !blockNames.insert(name).inserted { throw .assertion("block '\(name)' defined twice", line: line) }
    hasBlocks = true
    let body = try parseScoped(["endblock"], line: line)
    _ = try skip(word: name)
    return .block(JinjaBlockSyntax(name: name, body: body))
  }

  private mutating func parsePrint() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    let start = occurrences.count
    var values: [JinjaExpression] = []
    while !isAt(.blockEnd) {
      if !values.isEmpty { try expect(symbol: ",") }
      values.append(try parseExpression())
    }
    return .print(values, start..<occurrences.count, line: line)
  }

  /// Tags that load other templates: read so that what follows them is reported in the right place.
  private mutating func parseLoader() throws(TemplateError) -> JinjaStatement {
    let line = try advance().line
    let start = occurrences.count
    _ = try parseExpression()
    while !isAt(.blockEnd) {
      if current.kind == .end { try expect(.blockEnd) }
      try advance()
    }
    return .noLoader(start..<occurrences.count, line: line)
  }

  // MARK: Messages

  private func unknownTag(_ name: String) -> TemplateError {
    fail(unclosed("Encountered unknown tag '\(name)'.", name: name))
  }

  private func endOfTemplate(_ words: [String]) -> TemplateError {
    var parser = self
    parser.endStack.append(words)
    return fail(parser.unclosed("Unexpected end of template.", name: nil))
  }

  private func unclosed(_ start: String, name: String?) -> String {
    var parts = [start]
    if let wanted = endStack.last {
      let list = wanted.map { "'\($0)'" }.joined(separator: " or ")
      if let name, endStack.contains(where: { $0.contains(name) }) {
        parts.append(
          "You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for \(list).")
      } else {
        parts.append("Jinja was looking for the following tags: \(list).")
      }
    }
    if let open = tagStack.last { parts.append("The innermost block that needs to be closed is '\(open)'.") }
    return parts.joined(separator: " ")
  }
}
