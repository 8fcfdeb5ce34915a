/// How a run of statements ended.
enum JinjaFlow {
  case next, breakLoop, continueLoop
}

extension JinjaRenderer {
  func run(_ statements: [JinjaStatement]) throws(TemplateError) -> JinjaFlow {
    for statement in statements {
      let flow = try run(statement)
      if flow != .next { return flow }
    }
    return .next
  }

  private func run(_ statement: JinjaStatement) throws(TemplateError) -> JinjaFlow {
    try tick()
    switch statement {
    case .text(let bytes): try write(bytes)
    case .print(let values, _, let line):
      self.line = line
      for value in values { try print(try evaluate(value)) }
    case .assign(let target, _, let value, _, let line):
      self.line = line
      try requireNamespaces(target)
      try assign(try evaluate(value), to: target)
    case .assignBlock(let block): return try run(block)
    case .branch(let branches, let otherwise):
      for branch in branches {
        line = branch.line
        if try evaluate(branch.test).isTrue { return try run(branch.body) }
      }
      return try run(otherwise)
    case .loop(let loop):
      line = loop.body.line
      return try run(loop)
    case .macro(let syntax, let name):
      hold(frame)
      store(.object(JinjaMacro(syntax, closure: frame)), inName: name)
    case .callBlock(let syntax, let call, _):
      line = syntax.body.line
      hold(frame)
      try print(try evaluateCall(call, caller: JinjaMacro(syntax, closure: frame)))
    case .filterBlock(let block): return try run(block)
    case .with(let with):
      line = with.body.line
      try enter(with.body.scope)
      for (target, value) in zip(with.targets, with.values) { try assign(try evaluate(value), to: target) }
      return try run(with.body.statements)
    case .block(let block): try run(block)
    case .generation(let body): try runGeneration(body)
    case .autoescape(let value, _, let body): return try runEscaping(value, body)
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    case .noLoader(_, let line):
      self.line = line
      throw .typeError("no loader for this environment specified")
    }
    return .next
  }

  private func print(_ value: JinjaValue) throws(TemplateError) {
    if case .text(let text) = value, !isEscaping { return try write(text.bytes) }
    let text = try JinjaPrinter.text(value)
    try write(isEscaping ? text.escaped.bytes : text.bytes)
  }

  // MARK: Assignment

  private func requireNamespaces(_ target: JinjaTarget) throws(TemplateError) {
    switch target {
    case .name: break
    case .attribute(let name, _):
      guard case .object(let object) = value(ofName: name), object is JinjaNamespace else {
        throw .runtime("cannot assign attribute on non-namespace object")
      }
    case .tuple(let targets): for target in targets { try requireNamespaces(target) }
    }
  }

  func assign(_ value: JinjaValue, to target: JinjaTarget) throws(TemplateError) {
    switch target {
    case .name(let occurrence): store(value, inName: occurrence)
    case .attribute(let occurrence, let name):
      guard case .object(let object) = self.value(ofName: occurrence), let namespace = object as? JinjaNamespace else {
        throw .runtime("cannot assign attribute on non-namespace object")
      }
      try namespace.set(name, value)
    case .tuple(let targets):
      guard value.isIterable else { throw .typeError("cannot unpack non-iterable \(value.typeName) object") }
      let items = try value.elements()
      if items.count > targets.count { throw .valueError("too many values to unpack (expected \(targets.count))") }
      if items.count < targets.count {
        throw .valueError("not enough values to unpack (expected \(targets.count), got \(items.count))")
      }
      for (target, item) in zip(targets, items) { try assign(item, to: target) }
    }
  }

  private func run(_ block: JinjaAssignBlock) throws(TemplateError) -> JinjaFlow {
    line = block.body.line
    var flow = JinjaFlow.next
    try enter(block.body.scope)
    let text = try capture { () throws(TemplateError) in flow = try run(block.body.statements) }
    // Leaving a loop from inside the block abandons what it wrote.
    if flow != .next { return flow }
    try requireNamespaces(block.target)
    var value = JinjaValue.text(text)
    if let filter = block.filter {
      captured = text
      value = try evaluate(filter)
    }
    try assign(value, to: block.target)
    return .next
  }

  private func run(_ block: JinjaFilterBlock) throws(TemplateError) -> JinjaFlow {
    line = block.body.line
    var flow = JinjaFlow.next
    try enter(block.body.scope)
    let text = try capture { () throws(TemplateError) in flow = try run(block.body.statements) }
    if flow != .next { return flow }
    captured = text
    try print(try evaluate(block.filter))
    return .next
  }

  private func runEscaping(_ value: JinjaExpression, _ body: JinjaBody) throws(TemplateError) -> JinjaFlow {
    try enter(body.scope)
    let saved = isEscaping
    isEscaping = try evaluate(value).isTrue
    defer { isEscaping = saved }
    return try run(body.statements)
  }

  /// `{% generation %}` marks what the model said, for training. Here it only has variables of its own.
  private func runGeneration(_ body: JinjaBody) throws(TemplateError) {
    let saved = frame
    defer { frame = saved }
    frame = JinjaFrame(slotCount: program.scopes[body.scope].slotCount, parent: saved)
    try enter(body.scope)
    _ = try run(body.statements)
  }

  func run(_ block: JinjaBlockSyntax) throws(TemplateError) {
    let saved = frame
    defer { frame = saved }
    frame = JinjaFrame(slotCount: program.scopes[block.body.scope].slotCount, parent: nil)
    try enter(block.body.scope)
    _ = try run(block.body.statements)
  }

  // MARK: Loops

  private func run(_ loop: JinjaForLoop) throws(TemplateError) -> JinjaFlow {
    let source = try evaluate(loop.source)
    if !loop.isRecursive { return try iterate(loop, source, depth: 0, recurse: nil) }
    try write(try renderLevel(of: loop, source, depth: 0, around: frame).bytes)
    return .next
  }

  /// One level of a recursive loop: a function with its own variables that answers what it wrote.
  private func renderLevel(
    of loop: JinjaForLoop, _ source: JinjaValue, depth: Int, around outer: JinjaFrame
  ) throws(TemplateError) -> JinjaText {
    try tick()
    let saved = frame
    defer { frame = saved }
    frame = JinjaFrame(slotCount: program.scopes[loop.body.scope].slotCount, parent: outer)
    return try capture { () throws(TemplateError) in
      _ = try iterate(loop, source, depth: depth) { (inner, depth) throws(TemplateError) in
        try self.renderLevel(of: loop, inner, depth: depth, around: outer)
      }
    }
  }

  private func iterate(
    _ loop: JinjaForLoop, _ source: JinjaValue, depth: Int,
    recurse: ((JinjaValue, Int) throws(TemplateError) -> JinjaText)?
  ) throws(TemplateError) -> JinjaFlow {
    let items = try source.elements()
    let home = frame
    var test: ((JinjaValue) throws(TemplateError) -> Bool)?
    if let condition = loop.test {
      test = { (item) throws(TemplateError) in
        try self.tick()
        let saved = self.frame
        defer { self.frame = saved }
        self.frame = home
        try self.enter(loop.testScope)
        try self.assign(item, to: loop.testTarget)
        return try self.evaluate(condition).isTrue
      }
    }
    let state = JinjaLoop(items, depth0: depth, test: test, recurse: recurse)
    defer { state.finish() }
    // The reference notes that the body ran at its end, so a body that is always left early counts as not run.
    var hasRun = false
    while let item = try state.advance() {
      try tick()
      if let slot = program.scopes[loop.body.scope].loopSlot { frame.slots[slot] = .object(state) }
      try assign(item, to: loop.target)
      try enter(loop.body.scope)
      let flow = try run(loop.body.statements)
      if flow == .breakLoop { break }
      if flow == .next { hasRun = true }
    }
    if !hasRun, let otherwise = loop.otherwise {
      try enter(otherwise.scope)
      return try run(otherwise.statements)
    }
    return .next
  }
}
