/// Turns tokens into statements and expressions, with the reference's grammar and its messages. The statements are in
/// `JinjaParser+Statements`, the expressions in `JinjaParser+Expressions`.
struct JinjaParser {
  private let tokens: [JinjaToken]
  private(set) var position = 0
  var occurrences: [JinjaOccurrence] = []
  var scopeCount = 1
  var hasBlocks = false
  var blockNames: Set<String> = []
  private var nesting = 0

  /// Tags that are open, and the tags each level of statements may end with: for messages.
  var tagStack: [String] = []
  var endStack: [[String]] = []

  init(_ source: String) throws(TemplateError) {
    tokens = JinjaLexer.tokens(of: source)
    if let failure = tokens[0].failure { throw failure }
  }

  // MARK: Tokens

  var current: JinjaToken { tokens[position] }
  var look: JinjaToken { tokens[min(position + 1, tokens.count - 1)] }

  @discardableResult
  mutating func advance() throws(TemplateError) -> JinjaToken {
    let token = tokens[position]
    if position + 1 < tokens.count {
      position += 1
      if let failure = tokens[position].failure { throw failure }
    }
    return token
  }

  func isAt(_ kind: JinjaToken.Kind) -> Bool { current.kind == kind }
  func isAt(symbol: String) -> Bool { current.kind == .symbol(symbol) }
  func isAt(word: String) -> Bool { current.kind == .name && current.text == JinjaText(word) }

  mutating func skip(symbol: String) throws(TemplateError) -> Bool {
    guard isAt(symbol: symbol) else { return false }
    try advance()
    return true
  }

  mutating func skip(word: String) throws(TemplateError) -> Bool {
    guard isAt(word: word) else { return false }
    try advance()
    return true
  }

  @discardableResult
  mutating func expect(_ kind: JinjaToken.Kind) throws(TemplateError) -> JinjaToken {
    guard isAt(kind) else { throw unexpected(wanted: JinjaToken.describe(kind)) }
    return try advance()
  }

  mutating func expect(symbol: String) throws(TemplateError) { try expect(.symbol(symbol)) }

  mutating func expect(word: String) throws(TemplateError) {
    guard isAt(word: word) else { throw unexpected(wanted: word) }
    try advance()
  }

  private func unexpected(wanted: String) -> TemplateError {
    if current.kind == .end {
      return fail("unexpected end of template, expected '\(wanted)'.")
    }
    return fail("expected token '\(wanted)', got \(quoted(current.described))")
  }

  func quoted(_ text: String) -> String { JinjaPrinter.quoted(JinjaText(text)).string }

  func fail(_ message: String, line: Int? = nil) -> TemplateError { .syntax(message, line: line ?? current.line) }

  // MARK: Bookkeeping

  mutating func occur(_ role: JinjaOccurrence.Role, _ name: String, line: Int, isKnown: Bool = true) -> Int {
    occurrences.append(JinjaOccurrence(role: role, name: name, line: line, isKnown: isKnown))
    return occurrences.count - 1
  }

  mutating func newScope() -> Int {
    scopeCount += 1
    return scopeCount - 1
  }

  /// Guards the parser's own recursion.
  mutating func descend() throws(TemplateError) {
    nesting += 1
    if nesting > JinjaLimits.sourceNesting { throw fail("the template is nested too deeply") }
  }
  mutating func ascend() { nesting -= 1 }

  /// An expression one level above its parts.
  func make(_ node: JinjaNode, _ parts: JinjaExpression...) throws(TemplateError) -> JinjaExpression {
    try make(node, parts)
  }
  func make(_ node: JinjaNode, _ parts: [JinjaExpression]) throws(TemplateError) -> JinjaExpression {
    let depth = 1 + (parts.lazy.map(\.depth).max() ?? 0)
    if depth > JinjaLimits.treeDepth { throw fail("an expression is nested too deeply") }
    return JinjaExpression(node: node, depth: depth)
  }
}
