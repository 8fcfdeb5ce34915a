/// The state of a running `for`, and what templates see of it as `loop`.
final class JinjaLoop: JinjaObject {
  private let items: [JinjaValue]
  private var next = 0
  /// Elements that passed the loop's test and were looked at ahead of time.
  private var ahead: [JinjaValue] = []
  /// The loop's `if`: nil where it has none. Tests run as late as possible, since they may read what the body changed.
  private var test: ((JinjaValue) throws(TemplateError) -> Bool)?

  private(set) var index0 = -1
  private var current: JinjaValue?
  private var before: JinjaValue?
  private var known: Int?
  private var lastChanged: JinjaValue?
  let depth0: Int
  /// Renders the loop's body for other elements, where the loop is recursive.
  private(set) var recurse: ((JinjaValue, Int) throws(TemplateError) -> JinjaText)?

  init(
    _ items: [JinjaValue], depth0: Int, test: ((JinjaValue) throws(TemplateError) -> Bool)?,
    recurse: ((JinjaValue, Int) throws(TemplateError) -> JinjaText)? = nil
  ) {
    self.items = items
    self.depth0 = depth0
    self.test = test
    self.recurse = recurse
    self.known = test == nil ? items.count : nil
  }

  override var typeName: String { "LoopContext" }
  override var module: String? { "jinja2.runtime" }
  override var count: Int? { try? length() }
  override var isCallable: Bool { true }

  private func fetch() throws(TemplateError) -> JinjaValue? {
    while next < items.count {
      let item = items[next]
      next += 1
      if let test, try !test(item) { continue }
      return item
    }
    return nil
  }

  /// Moves to the next element.
  func advance() throws(TemplateError) -> JinjaValue? {
    let item: JinjaValue?
    if ahead.isEmpty { item = try fetch() } else { item = ahead.removeFirst() }
    guard let item else { return nil }
    index0 += 1
    before = current
    current = item
    return item
  }

  /// Lets go of everything that might refer back to the loop.
  func finish() {
    test = nil
    recurse = nil
  }

  private func peek() throws(TemplateError) -> JinjaValue? {
    if let first = ahead.first { return first }
    guard let item = try fetch() else { return nil }
    ahead.append(item)
    return item
  }

  private func length() throws(TemplateError) -> Int {
    if let known { return known }
    while let item = try fetch() { ahead.append(item) }
    let count = index0 + 1 + ahead.count
    known = count
    return count
  }

  /// An attribute of `loop`; nil where there is none of that name. Looking ahead may run the loop's test.
  func property(_ name: JinjaText) throws(TemplateError) -> JinjaValue? {
    switch name.string {
    case "index": return .int(index0 + 1)
    case "index0": return .int(index0)
    case "revindex": return .int(try length() - index0)
    case "revindex0": return .int(try length() - index0 - 1)
    case "first": return .bool(index0 == 0)
    case "last": return .bool(try peek() == nil)
    case "length": return .int(try length())
    case "depth": return .int(depth0 + 1)
    case "depth0": return .int(depth0)
    case "previtem": return index0 > 0 ? before : .undefined(JinjaUndefined("there is no previous item"))
    case "nextitem": return try peek() ?? .undefined(JinjaUndefined("there is no next item"))
    case "cycle", "changed": return .object(JinjaMethod(receiver: .object(self), name: name))
    default: return nil
    }
  }

  func cycle(_ values: [JinjaValue]) throws(TemplateError) -> JinjaValue {
    if values.isEmpty { throw .typeError("no items for cycling given") }
    return values[index0 % values.count]
  }

  func hasChanged(_ values: [JinjaValue]) throws(TemplateError) -> Bool {
    let value = JinjaValue.tuple(try JinjaList(values))
    if let lastChanged, lastChanged.isEqual(to: value) { return false }
    lastChanged = value
    return true
  }

  override func write(to printer: inout JinjaPrinter) throws(TemplateError) {
    printer.append("<LoopContext \(index0 + 1)/\(try length())>")
  }
}
