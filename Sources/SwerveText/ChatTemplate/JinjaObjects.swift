/// Anything in a template that is neither plain data nor a container. Each kind is a subclass in this file or beside
/// the code that runs it.
class JinjaObject {
  /// Python's name of the type, and the module it lives in where messages say it.
  var typeName: String { "object" }
  var module: String? { nil }
  /// Length, for kinds that have one; also decides truth.
  var count: Int? { nil }
  var depth: Int { 0 }
  var weight: Int { 64 }
  var isCallable: Bool { false }

  func attribute(_ name: JinjaText) -> JinjaValue? { nil }
  func write(to printer: inout JinjaPrinter) throws(TemplateError) {
    printer.append("<\((module.map { $0 + "." } ?? "") + typeName) object>")
  }
}

/// `namespace(...)`: the only value a template can change.
final class JinjaNamespace: JinjaObject {
  private(set) var names: [JinjaText] = []
  private(set) var values: [JinjaValue] = []

  override var typeName: String { "TemplateNamespace" }
  override var module: String? { "transformers.utils.chat_template_utils" }

  override func attribute(_ name: JinjaText) -> JinjaValue? { names.firstIndex(of: name).map { values[$0] } }

  func set(_ name: JinjaText, _ value: JinjaValue) throws(TemplateError) {
    if name.bytes.first == UInt8(ascii: "_") {
      throw .security(
        "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
          + "\(JinjaPrinter.quoted(name).string). Please rename the attribute.")
    }
    if let place = names.firstIndex(of: name) {
      values[place] = value
    } else {
      names.append(name)
      values.append(value)
    }
  }

  /// Breaks cycles when rendering ends.
  func removeAll() {
    names = []
    values = []
  }

  override func write(to printer: inout JinjaPrinter) throws(TemplateError) {
    printer.append("<Namespace ")
    try printer.members(Array(zip(names.map { JinjaValue.text($0) }, values)))
    printer.append(">")
  }
}

/// `range(...)`: at most 100000 integers, made when iterated.
final class JinjaRange: JinjaObject {
  let start: Int
  let stop: Int
  let step: Int
  let length: Int

  /// `step` must not be 0. Throws where the range is longer than the sandbox allows.
  init(start: Int, stop: Int, step: Int) throws(TemplateError) {
    if step == 0 { throw .valueError("range() arg 3 must not be zero") }
    // Widths as unsigned numbers: the difference of two integers may not fit a signed one.
    let isForward = step > 0
    let isEmpty = isForward ? stop <= start : stop >= start
    let width = isEmpty ? 0 : isForward ? UInt(bitPattern: stop &- start) : UInt(bitPattern: start &- stop)
    let count = isEmpty ? 0 : (width - 1) / step.magnitude + 1
    if count > UInt(JinjaLimits.rangeLength) {
      throw .overflow("Range too big. The sandbox blocks ranges larger than MAX_RANGE (\(JinjaLimits.rangeLength)).")
    }
    self.start = start
    self.stop = stop
    self.step = step
    self.length = Int(count)
  }

  subscript(index: Int) -> Int { start &+ index &* step }

  func index(of number: Int) -> Int? {
    guard length > 0, (step > 0 ? number >= start && number < stop : number <= start && number > stop) else {
      return nil
    }
    let distance = UInt(bitPattern: step > 0 ? number &- start : start &- number)
    return distance % step.magnitude == 0 ? Int(distance / step.magnitude) : nil
  }

  override var typeName: String { "range" }
  override var count: Int? { length }
  override func attribute(_ name: JinjaText) -> JinjaValue? {
    switch name.string {
    case "start": .int(start)
    case "stop": .int(stop)
    case "step": .int(step)
    default: nil
    }
  }
  override func write(to printer: inout JinjaPrinter) {
    printer.append(step == 1 ? "range(\(start), \(stop))" : "range(\(start), \(stop), \(step))")
  }
}

/// What `map`, `select` and their like give: elements that can be taken once.
final class JinjaIterator: JinjaObject {
  private let items: [JinjaValue]
  private var next = 0
  private let name: String
  private let ownDepth: Int
  private let ownWeight: Int

  init(_ items: [JinjaValue], name: String = "generator") throws(TemplateError) {
    let list = try JinjaList(items)
    self.items = items
    self.name = name
    self.ownDepth = list.depth
    self.ownWeight = list.weight
  }

  override var typeName: String { name }
  override var depth: Int { ownDepth }
  override var weight: Int { ownWeight }

  func takeOne() -> JinjaValue? {
    guard next < items.count else { return nil }
    next += 1
    return items[next - 1]
  }
  func takeAll() -> [JinjaValue] {
    defer { next = items.count }
    return next == 0 ? items : Array(items[next...])
  }
}

/// `keys()`, `values()` and `items()` of a dictionary.
final class JinjaView: JinjaObject {
  enum Kind: String { case keys, values, items }
  let kind: Kind
  let dict: JinjaDict

  init(_ kind: Kind, _ dict: JinjaDict) {
    self.kind = kind
    self.dict = dict
  }

  override var typeName: String { "dict_\(kind.rawValue)" }
  override var count: Int? { dict.count }
  override var depth: Int { dict.depth + 2 }
  override var weight: Int { dict.weight }

  func items() throws(TemplateError) -> [JinjaValue] {
    switch kind {
    case .keys: return dict.keys
    case .values: return dict.values
    case .items:
      var pairs: [JinjaValue] = []
      pairs.reserveCapacity(dict.count)
      for place in 0..<dict.count { pairs.append(.tuple(try JinjaList([dict.keys[place], dict.values[place]]))) }
      return pairs
    }
  }

  override func write(to printer: inout JinjaPrinter) throws(TemplateError) {
    printer.append("\(typeName)(")
    try printer.elements(try items(), open: "[", close: "]")
    printer.append(")")
  }
}

/// What `str.encode` gives. It can be printed and measured.
final class JinjaBytes: JinjaObject {
  let bytes: [UInt8]
  init(_ bytes: [UInt8]) { self.bytes = bytes }

  override var typeName: String { "bytes" }
  override var count: Int? { bytes.count }
  override var weight: Int { bytes.count }

  override func write(to printer: inout JinjaPrinter) {
    let quote = bytes.contains(UInt8(ascii: "'")) && !bytes.contains(UInt8(ascii: "\"")) ? "\"" : "'"
    var out = "b" + quote
    for byte in bytes {
      switch byte {
      case 0x09: out += "\\t"
      case 0x0A: out += "\\n"
      case 0x0D: out += "\\r"
      case UInt8(ascii: "\\"): out += "\\\\"
      case UInt8(ascii: "'") where quote == "'": out += "\\'"
      case 0x20..<0x7F: out.unicodeScalars.append(Unicode.Scalar(byte))
      default: out += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }
    printer.append(out + quote)
  }
}

/// `cycler(...)`.
final class JinjaCycler: JinjaObject {
  let items: JinjaList
  var position = 0
  init(_ items: JinjaList) { self.items = items }

  override var typeName: String { "Cycler" }
  override var module: String? { "jinja2.utils" }
  override var depth: Int { items.depth }
  override var weight: Int { items.weight }

  var current: JinjaValue { items.items[position] }
  func next() -> JinjaValue {
    defer { position = (position + 1) % items.items.count }
    return current
  }
  override func attribute(_ name: JinjaText) -> JinjaValue? {
    switch name.string {
    case "current": current
    case "pos": .int(position)
    case "items": .tuple(items)
    case "next", "reset": .object(JinjaMethod(receiver: .object(self), name: name))
    default: nil
    }
  }
}

/// `joiner(...)`: nothing the first time it is called, the separator afterwards.
final class JinjaJoiner: JinjaObject {
  let separator: JinjaValue
  var isUsed = false
  init(_ separator: JinjaValue) { self.separator = separator }

  override var typeName: String { "Joiner" }
  override var module: String? { "jinja2.utils" }
  override var isCallable: Bool { true }
  override var depth: Int { separator.depth + 1 }
  override var weight: Int { separator.weight }
  override func attribute(_ name: JinjaText) -> JinjaValue? {
    switch name.string {
    case "sep": separator
    case "used": .bool(isUsed)
    default: nil
    }
  }
}

/// A method taken off its object without being called: `{% set f = name.upper %}`.
final class JinjaMethod: JinjaObject {
  let receiver: JinjaValue
  let name: JinjaText
  init(receiver: JinjaValue, name: JinjaText) {
    self.receiver = receiver
    self.name = name
  }

  override var typeName: String { "builtin_function_or_method" }
  override var isCallable: Bool { true }
  override var depth: Int { receiver.depth + 1 }
  override var weight: Int { receiver.weight }
  override func write(to printer: inout JinjaPrinter) {
    printer.append("<built-in method \(name.string) of \(receiver.typeName) object>")
  }
}

/// A function of the environment, such as `range` or `raise_exception`.
final class JinjaFunction: JinjaObject {
  let global: JinjaGlobal
  init(_ global: JinjaGlobal) { self.global = global }

  override var typeName: String { "function" }
  override var isCallable: Bool { true }
  override func write(to printer: inout JinjaPrinter) { printer.append("<function \(global.rawValue)>") }
}
