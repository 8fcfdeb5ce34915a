#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// One rendering: the running functions' frames, the output so far, and the bounds. Not shared between threads.
///
/// Statements are in `JinjaRenderer+Statements`, expressions in `+Expressions`, calls in `+Calls`.
final class JinjaRenderer {
  let program: JinjaProgram
  let now: TemplateDate
  private let context: (JinjaText) throws(TemplateError) -> JinjaValue?
  private let limits: TemplateLimits

  var out: [UInt8] = []
  var frame: JinjaFrame
  /// What a filter block collected, while its filter is evaluated.
  var captured = JinjaText(bytes: [])
  var isEscaping = false
  var line = 1

  private var contextValues: [JinjaValue??]
  private var exported: [JinjaText: JinjaValue] = [:]
  private var steps = 0
  private var outputBytes = 0
  private let deadline: UInt64
  private let stackStart: UInt

  /// Frames that macros hold and namespaces: emptied when rendering ends, because they may hold one another.
  private var heldFrames: [JinjaFrame] = []
  private var namespaces: [JinjaNamespace] = []

  init(
    program: JinjaProgram, now: TemplateDate, limits: TemplateLimits,
    context: @escaping (JinjaText) throws(TemplateError) -> JinjaValue?
  ) {
    self.program = program
    self.now = now
    self.limits = limits
    self.context = context
    self.frame = JinjaFrame(slotCount: program.scopes[0].slotCount, parent: nil)
    self.contextValues = Array(repeating: nil, count: program.contextNames.count)
    self.deadline = Self.monotonicNanoseconds() &+ UInt64(max(0, min(limits.seconds, 1e9)) * 1e9)
    self.stackStart = Self.stackAddress()
  }

  func render() throws(TemplateError) -> [UInt8] {
    defer {
      for frame in heldFrames { frame.slots = [] }
      for namespace in namespaces { namespace.removeAll() }
    }
    do throws(TemplateError) {
      try enter(0)
      _ = try run(program.statements)
      return out
    } catch {
      var error = error
      if error.line == nil { error.line = line }
      throw error
    }
  }

  // MARK: Bounds

  /// Called for each statement and expression: cheap, but for the clock every 64 calls.
  func tick() throws(TemplateError) {
    steps &+= 1
    if steps & 63 == 0, Self.monotonicNanoseconds() > deadline {
      throw .limit("the template took longer than \(PythonFloat.representation(limits.seconds)) s to render")
    }
    let here = Self.stackAddress()
    if stackStart &- here > UInt(JinjaLimits.stackBytes), here &- stackStart > UInt(JinjaLimits.stackBytes) {
      throw .limit("the template recursed too deeply")
    }
  }

  @inline(never)
  private static func stackAddress() -> UInt {
    var marker: UInt8 = 0
    return withUnsafeMutablePointer(to: &marker) { UInt(bitPattern: $0) }
  }

  private static func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  func write(_ bytes: [UInt8]) throws(TemplateError) {
    out.append(contentsOf: bytes)
    if out.count > limits.outputBytes {
      throw .limit("the template's output grew beyond \(limits.outputBytes) bytes")
    }
  }

  /// Runs `body` with the output going to a fresh buffer, and answers what it wrote.
  func capture(_ body: () throws(TemplateError) -> Void) throws(TemplateError) -> JinjaText {
    var saved: [UInt8] = []
    swap(&saved, &out)
    defer { swap(&saved, &out) }
    try body()
    return JinjaText(bytes: out, isMarkup: isEscaping)
  }

  // MARK: Names

  /// Prepares a scope's slots.
  func enter(_ scope: Int) throws(TemplateError) {
    for (slot, load) in program.scopes[scope].loads {
      switch load {
      case .missing: frame.slots[slot] = nil
      case .alias(let reference): frame.slots[slot] = value(at: reference)
      case .context(let index): frame.slots[slot] = try contextValue(index)
      }
    }
  }

  private func contextValue(_ index: Int) throws(TemplateError) -> JinjaValue? {
    let name = program.contextNames[index]
    if let value = exported[name] { return value }
    if let known = contextValues[index] { return known }
    var value = try context(name)
    if value == nil { value = JinjaGlobal(rawValue: name.string).map { .object(JinjaFunction($0)) } }
    if value == nil, name == "self" { value = .object(JinjaSelf()) }
    contextValues[index] = .some(value)
    return value
  }

  private func value(at reference: JinjaReference) -> JinjaValue? {
    if reference.hops == 0 { return frame.slots[reference.slot] }
    return outer(reference.hops).slots[reference.slot]
  }

  private func outer(_ hops: Int) -> JinjaFrame {
    var at = frame
    for _ in 0..<hops { if let parent = at.parent { at = parent } }
    return at
  }

  func value(ofName occurrence: Int) -> JinjaValue {
    if let value = value(at: program.references[occurrence]) { return value }
    let program = program
    return .undefined(
      JinjaUndefined(JinjaPrinter.quoted(JinjaText(program.occurrences[occurrence].name)).string + " is undefined"))
  }

  func store(_ value: JinjaValue, inName occurrence: Int) {
    let reference = program.references[occurrence]
    if reference.hops == 0 {
      frame.slots[reference.slot] = value
    } else {
      outer(reference.hops).slots[reference.slot] = value
    }
    if reference.isExported { exported[JinjaText(program.occurrences[occurrence].name)] = value }
  }

  // MARK: What rendering holds on to

  func hold(_ frame: JinjaFrame) {
    if frame.isHeld { return }
    frame.isHeld = true
    heldFrames.append(frame)
  }
  func hold(_ namespace: JinjaNamespace) { namespaces.append(namespace) }
}

/// The variables of one running function.
final class JinjaFrame {
  var slots: [JinjaValue?]
  let parent: JinjaFrame?
  var isHeld = false

  init(slotCount: Int, parent: JinjaFrame?) {
    self.slots = Array(repeating: nil, count: slotCount)
    self.parent = parent
  }
}

/// A macro together with the variables around its definition.
final class JinjaMacro: JinjaObject {
  let syntax: JinjaMacroSyntax
  let closure: JinjaFrame
  init(_ syntax: JinjaMacroSyntax, closure: JinjaFrame) {
    self.syntax = syntax
    self.closure = closure
  }

  override var typeName: String { "Macro" }
  override var module: String? { "jinja2.runtime" }
  override var isCallable: Bool { true }
  override func attribute(_ name: JinjaText) -> JinjaValue? {
    switch name.string {
    case "name": return syntax.name.map { .text($0) } ?? JinjaValue.none
    case "arguments": return (try? JinjaList(syntax.parameterNames.map { .text($0) })).map { .tuple($0) }
    default: return nil
    }
  }
  override func write(to printer: inout JinjaPrinter) {
    printer.append(syntax.name.map { "<Macro '\($0)'>" } ?? "<Macro anonymous>")
  }
}

/// `self`: the template's blocks by name.
final class JinjaSelf: JinjaObject {
  override var typeName: String { "TemplateReference" }
  override var module: String? { "jinja2.runtime" }
  override func write(to printer: inout JinjaPrinter) { printer.append("<TemplateReference None>") }
}

/// A block taken from `self`, to be called.
final class JinjaBlock: JinjaObject {
  let name: String
  init(_ name: String) { self.name = name }
  override var typeName: String { "BlockReference" }
  override var module: String? { "jinja2.runtime" }
  override var isCallable: Bool { true }
}
