/// Decides where each name lives, by the rules of the reference's compiler, oddities included: a name assigned anywhere
/// in a scope belongs to that scope from its beginning; what it holds before the assignment is the outer scope's value
/// if the outer scope assigns it, else the caller's variable if it is read first, else nothing.
struct JinjaResolver {
  let occurrences: [JinjaOccurrence]
  let hasBlocks: Bool
  private(set) var references: [JinjaReference]
  private(set) var scopes: [JinjaScope]
  private(set) var contextNames: [String] = []
  private(set) var blocks: [String: JinjaBlockSyntax] = [:]
  private var contextIndex: [String: Int] = [:]
  private var functions: [(scope: Int, function: JinjaFunctionLayout)] = []

  init(occurrences: [JinjaOccurrence], scopeCount: Int, hasBlocks: Bool) {
    self.occurrences = occurrences
    self.hasBlocks = hasBlocks
    self.references = Array(repeating: JinjaReference(), count: occurrences.count)
    self.scopes = Array(repeating: JinjaScope(), count: scopeCount)
  }

  /// Where code is: decides what is allowed and how unknown filters fail.
  private struct Place {
    var isTopLevel = false
    var isSoft = false
    var isInLoop = false

    var soft: Place { Place(isTopLevel: isTopLevel, isSoft: true, isInLoop: isInLoop) }
    var inner: Place { Place(isInLoop: isInLoop) }
  }

  mutating func resolve(template statements: [JinjaStatement]) throws(TemplateError) {
    let function = JinjaFunctionLayout(depth: 0)
    let symbols = JinjaSymbols(parent: nil, function: function)
    analyze(statements, symbols)
    functions.append((0, function))
    try generate(statements, symbols, Place(isTopLevel: true))
    finish(0, symbols)
    for (scope, function) in functions { scopes[scope].slotCount = function.slotCount }
  }

  // MARK: First pass: which names a scope has

  private func analyze(_ statements: [JinjaStatement], _ symbols: JinjaSymbols) {
    for statement in statements { analyze(statement, symbols) }
  }

  private func analyze(_ span: JinjaSpan, _ symbols: JinjaSymbols, asParameters: Bool = false) {
    for place in span {
      let name = occurrences[place].name
      switch occurrences[place].role {
      case .load: symbols.load(name)
      case .store: if asParameters { symbols.declareParameter(name) } else { symbols.store(name) }
      case .parameter: symbols.declareParameter(name)
      case .filter, .test: break
      }
    }
  }

  private func analyze(_ statement: JinjaStatement, _ symbols: JinjaSymbols) {
    switch statement {
    case .text, .block, .generation, .autoescape, .breakLoop, .continueLoop: break
    case .print(_, let span, _), .noLoader(let span, _): analyze(span, symbols)
    case .assign(_, let targetSpan, _, let valueSpan, _):
      analyze(valueSpan, symbols)
      analyze(targetSpan, symbols)
    case .assignBlock(let block): analyze(block.targetSpan, symbols)
    case .branch(let branches, let otherwise): analyze(branches[...], otherwise, symbols)
    case .loop(let loop): analyze(loop.sourceSpan, symbols)
    case .macro(_, let name): symbols.store(occurrences[name].name)
    case .callBlock(_, _, let span): analyze(span, symbols)
    case .filterBlock(let block): analyze(block.span, symbols)
    case .with(let with): for span in with.valueSpans { analyze(span, symbols) }
    }
  }

  /// The first branch, then the others nested as an `elif` of it, then the `else`.
  private func analyze(_ branches: ArraySlice<JinjaBranch>, _ otherwise: [JinjaStatement], _ symbols: JinjaSymbols) {
    guard let first = branches.first else { return }
    analyze(first.span, symbols)
    let body = symbols.copy()
    analyze(first.body, body)
    let elseIf = symbols.copy()
    for branch in branches.dropFirst() { analyze([branch], [], elseIf) }
    let last = symbols.copy()
    analyze(otherwise, last)
    symbols.merge([body, elseIf, last])
  }

  // MARK: Second pass: what each occurrence means

  private mutating func generate(
    _ statements: [JinjaStatement], _ symbols: JinjaSymbols, _ place: Place
  ) throws(TemplateError) {
    for statement in statements { try generate(statement, symbols, place) }
  }

  private mutating func generate(_ span: JinjaSpan, _ symbols: JinjaSymbols, _ place: Place) throws(TemplateError) {
    for index in span {
      let occurrence = occurrences[index]
      switch occurrence.role {
      case .load, .store, .parameter:
        guard let target = symbols.find(occurrence.name) else { continue }
        references[index] = JinjaReference(
          hops: symbols.function.depth - target.functionDepth, slot: target.slot,
          isExported: hasBlocks && place.isTopLevel && occurrence.role == .store)
      case .filter, .test:
        if !occurrence.isKnown, !place.isSoft, !occurrence.isConditional {
          let kind = occurrence.role == .filter ? "filter" : "test"
          throw .assertion("No \(kind) named '\(occurrence.name)'.", line: occurrence.line)
        }
      }
    }
  }

  private mutating func generate(
    _ statement: JinjaStatement, _ symbols: JinjaSymbols, _ place: Place
  ) throws(TemplateError) {
    switch statement {
    case .text: break
    case .print(_, let span, _), .noLoader(let span, _): try generate(span, symbols, place)
    case .assign(_, let targetSpan, _, let valueSpan, _):
      try generate(targetSpan, symbols, place)
      try generate(valueSpan, symbols, place)
    case .assignBlock(let block):
      let inner = JinjaSymbols(parent: symbols)
      analyze(block.body.statements, inner)
      try generate(block.targetSpan, symbols, place)
      try generate(block.filterSpan, inner, place.inner)
      try generate(block.body.statements, inner, place.inner)
      finish(block.body.scope, inner)
    case .branch(let branches, let otherwise):
      for branch in branches {
        try generate(branch.span, symbols, place.soft)
        try generate(branch.body, symbols, place.soft)
      }
      try generate(otherwise, symbols, place.soft)
    case .loop(let loop): try generate(loop, symbols, place)
    case .macro(let macro, let name):
      try generate(macro, symbols)
      try generate(name..<(name + 1), symbols, place)
    case .callBlock(let macro, _, let span):
      try generate(macro, symbols)
      try generate(span, symbols, place)
    case .filterBlock(let block):
      let inner = JinjaSymbols(parent: symbols)
      analyze(block.span, inner)
      analyze(block.body.statements, inner)
      try generate(block.body.statements, inner, place.inner)
      try generate(block.span, inner, place.inner)
      finish(block.body.scope, inner)
    case .with(let with):
      let inner = JinjaSymbols(parent: symbols)
      for span in with.targetSpans { analyze(span, inner) }
      analyze(with.body.statements, inner)
      for span in with.targetSpans { try generate(span, inner, place.inner) }
      for span in with.valueSpans { try generate(span, symbols, place) }
      try generate(with.body.statements, inner, place.inner)
      finish(with.body.scope, inner)
    case .block(let block): try generate(block)
    case .generation(let body):
      let inner = JinjaSymbols(parent: symbols, function: JinjaFunctionLayout(depth: symbols.function.depth + 1))
      analyze(body.statements, inner)
      functions.append((body.scope, inner.function))
      try generate(body.statements, inner, Place())
      finish(body.scope, inner)
    case .autoescape(_, let span, let body):
      let inner = JinjaSymbols(parent: symbols)
      analyze(span, inner)
      analyze(body.statements, inner)
      try generate(span, inner, place.inner)
      try generate(body.statements, inner, place.inner)
      finish(body.scope, inner)
    case .breakLoop(let line):
      if !place.isInLoop { throw Self.notInLoop("'break' outside loop", line) }
    case .continueLoop(let line):
      if !place.isInLoop { throw Self.notInLoop("'continue' not properly in loop", line) }
    }
  }

  /// The reference leaves this to Python's own compiler.
  private static func notInLoop(_ message: String, _ line: Int) -> TemplateError {
    TemplateError(kind: .python, type: "SyntaxError", message: message, line: line)
  }

  private mutating func generate(_ loop: JinjaForLoop, _ symbols: JinjaSymbols, _ place: Place) throws(TemplateError) {
    for index in loop.wholeSpan where occurrences[index].role == .store && occurrences[index].name == "loop" {
      throw .assertion("Can't assign to special loop variable in for-loop target", line: occurrences[index].line)
    }
    // A recursive loop is a function of its own: each level has its own variables.
    let function = loop.isRecursive ? JinjaFunctionLayout(depth: symbols.function.depth + 1) : symbols.function
    if loop.isRecursive { functions.append((loop.body.scope, function)) }
    let usesLoop =
      loop.isRecursive || mentions("loop", in: loop.bodySpan) || mentions("loop", in: loop.testSpan)

    let body = JinjaSymbols(parent: symbols, function: function)
    if usesLoop { scopes[loop.body.scope].loopSlot = body.declareParameter("loop").slot }
    analyze(loop.targetSpan, body, asParameters: true)
    analyze(loop.body.statements, body)

    try generate(loop.sourceSpan, symbols, place)
    if loop.test != nil {
      let test = JinjaSymbols(parent: symbols, function: function)
      analyze(loop.testTargetSpan, test, asParameters: true)
      analyze(loop.testSpan, test)
      try generate(loop.testTargetSpan, test, Place())
      try generate(loop.testSpan, test, Place())
      finish(loop.testScope, test)
    }
    try generate(loop.targetSpan, body, Place())
    try generate(loop.body.statements, body, Place(isInLoop: true))
    finish(loop.body.scope, body)
    if let otherwise = loop.otherwise {
      let inner = JinjaSymbols(parent: symbols, function: function)
      analyze(otherwise.statements, inner)
      try generate(otherwise.statements, inner, loop.isRecursive ? Place() : place.inner)
      finish(otherwise.scope, inner)
    }
  }

  private mutating func generate(_ macro: JinjaMacroSyntax, _ symbols: JinjaSymbols) throws(TemplateError) {
    let function = JinjaFunctionLayout(depth: symbols.function.depth + 1)
    let inner = JinjaSymbols(parent: symbols, function: function)
    let scope = macro.body.scope
    for index in macro.parameters { inner.declareParameter(occurrences[index].name) }
    let names = macro.parameters.map { occurrences[$0].name }
    if mentions("caller", in: macro.bodySpan) {
      if let explicit = names.firstIndex(of: "caller") {
        if names.count - explicit > macro.defaults.count {
          throw .assertion(
            "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a default.",
            line: macro.body.line)
        }
      }
      scopes[scope].callerSlot = inner.declareParameter("caller").slot
    }
    if mentions("kwargs", in: macro.bodySpan), !names.contains("kwargs") {
      scopes[scope].kwargsSlot = inner.declareParameter("kwargs").slot
    }
    if mentions("varargs", in: macro.bodySpan), !names.contains("varargs") {
      scopes[scope].varargsSlot = inner.declareParameter("varargs").slot
    }
    analyze(macro.signatureSpan, inner)
    analyze(macro.body.statements, inner)
    functions.append((scope, function))
    try generate(macro.signatureSpan, inner, Place())
    try generate(macro.body.statements, inner, Place())
    finish(scope, inner)
  }

  private mutating func generate(_ block: JinjaBlockSyntax) throws(TemplateError) {
    blocks[block.name] = block
    let function = JinjaFunctionLayout(depth: 0)
    let symbols = JinjaSymbols(parent: nil, function: function)
    analyze(block.body.statements, symbols)
    functions.append((block.body.scope, function))
    try generate(block.body.statements, symbols, Place())
    finish(block.body.scope, symbols)
  }

  /// Whether a piece of source reads `name` before it assigns it.
  private func mentions(_ name: String, in span: JinjaSpan) -> Bool {
    for place in span where occurrences[place].name == name {
      switch occurrences[place].role {
      case .load: return true
      case .store, .parameter: return false
      case .filter, .test: continue
      }
    }
    return false
  }

  /// Writes down what entering the scope does.
  private mutating func finish(_ scope: Int, _ symbols: JinjaSymbols) {
    for (name, load) in symbols.loads.sorted(by: { $0.key < $1.key }) {
      guard let target = symbols.references[name] else { continue }
      switch load {
      case .parameter: break
      case .missing: scopes[scope].loads.append((target.slot, .missing))
      case .alias(let outer):
        let reference = JinjaReference(hops: symbols.function.depth - outer.functionDepth, slot: outer.slot)
        scopes[scope].loads.append((target.slot, .alias(reference)))
      case .context:
        let index = contextIndex[name] ?? contextNames.count
        if index == contextNames.count {
          contextNames.append(name)
          contextIndex[name] = index
        }
        scopes[scope].loads.append((target.slot, .context(index)))
      }
    }
  }
}
