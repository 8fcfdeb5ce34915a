extension JinjaRenderer {
  func evaluate(_ expression: JinjaExpression) throws(TemplateError) -> JinjaValue {
    switch expression.node {
    case .literal(let literal): return literal.value
    case .name(let occurrence): return value(ofName: occurrence)
    case .attribute(let object, let name): return try attribute(try evaluate(object), name)
    case .element(let object, let key):
      let container = try evaluate(object)
      return try element(container, try evaluate(key))
    case .and(let a, let b):
      let left = try evaluate(a)
      return left.isTrue ? try evaluate(b) : left
    case .or(let a, let b):
      let left = try evaluate(a)
      return left.isTrue ? left : try evaluate(b)
    case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
    default: return try evaluateOther(expression)
    }
  }

  private func evaluateOther(_ expression: JinjaExpression) throws(TemplateError) -> JinjaValue {
    try tick()
    switch expression.node {
    case .captured: return .text(captured)
    case .call: return try evaluateCall(expression, caller: nil)
    case .filter(let subject, let name, let filter, let arguments):
      let value = try evaluate(subject)
      guard let filter else { throw .runtime("No filter named '\(name)' found.") }
      return try apply(filter, value, try evaluate(arguments))
    case .test(let subject, let name, let test, let arguments):
      let value = try evaluate(subject)
      guard let test else { throw .runtime("No test named '\(name)' found.") }
      return .bool(try check(test, value, try evaluate(arguments)))
    case .binary(let operation, let a, let b):
      let left = try evaluate(a)
      return try JinjaValue.apply(operation, left, try evaluate(b))
    case .concat(let parts): return try concatenate(parts)
    case .compare(let first, let rest): return .bool(try compare(first, rest))
    case .conditional(let test, let then, let otherwise, let line):
      if try evaluate(test).isTrue { return try evaluate(then) }
      if let otherwise { return try evaluate(otherwise) }
      return .undefined(
        JinjaUndefined(
          "the inline if-expression on line \(line) evaluated to false and no else section was defined."))
    case .list(let items): return .list(try JinjaList(try evaluate(items)))
    case .tuple(let items): return .tuple(try JinjaList(try evaluate(items)))
    case .dict(let items): return try evaluate(members: items)
    case .negative(let operand): return try evaluate(operand).negated()
    case .positive(let operand): return try evaluate(operand).affirmed()
    case .slice(let subject, let slice): return try evaluate(slice, of: subject)
    default: return .none
    }
  }

  private func evaluate(_ items: [JinjaExpression]) throws(TemplateError) -> [JinjaValue] {
    var values: [JinjaValue] = []
    values.reserveCapacity(items.count)
    for item in items { values.append(try evaluate(item)) }
    return values
  }

  private func evaluate(members: [(JinjaExpression, JinjaExpression)]) throws(TemplateError) -> JinjaValue {
    var values: [(JinjaValue, JinjaValue)] = []
    for (key, value) in members {
      let key = try evaluate(key)
      values.append((key, try evaluate(value)))
    }
    return .dict(try JinjaDict(values))
  }

  private func concatenate(_ parts: [JinjaExpression]) throws(TemplateError) -> JinjaValue {
    var bytes: [UInt8] = []
    for part in parts {
      let text = try JinjaPrinter.text(try evaluate(part))
      bytes += isEscaping ? text.escaped.bytes : text.bytes
      try JinjaLimits.check(textBytes: bytes.count)
    }
    return .text(JinjaText(bytes: bytes, isMarkup: isEscaping))
  }

  private func compare(
    _ first: JinjaExpression, _ rest: [(JinjaComparison, JinjaExpression)]
  ) throws(TemplateError) -> Bool {
    var left = try evaluate(first)
    for (comparison, operand) in rest {
      let right = try evaluate(operand)
      if !(try Self.compare(left, comparison, right)) { return false }
      left = right
    }
    return true
  }

  static func compare(
    _ left: JinjaValue, _ comparison: JinjaComparison, _ right: JinjaValue
  ) throws(TemplateError) -> Bool {
    switch comparison {
    case .equal: return left.isEqual(to: right)
    case .notEqual: return !left.isEqual(to: right)
    case .contained: return try right.contains(left)
    case .notContained: return !(try right.contains(left))
    case .less: return try left.order(right, symbol: "<") == -1
    case .greater: return try left.order(right, symbol: ">") == 1
    case .lessOrEqual: return try left.order(right, symbol: "<=").map { $0 <= 0 } ?? false
    case .greaterOrEqual: return try left.order(right, symbol: ">=").map { $0 >= 0 } ?? false
    }
  }

  // MARK: Attributes and elements

  /// Names that every object has in Python and the sandbox hides.
  private static let hiddenNames: Set<String> = [
    "__class__", "__init__", "__doc__", "__eq__", "__ne__", "__hash__", "__str__", "__repr__", "__dir__", "__format__",
    "__getattribute__", "__reduce__", "__reduce_ex__", "__setattr__", "__delattr__", "__sizeof__", "__subclasshook__",
    "__new__", "__init_subclass__", "__lt__", "__le__", "__gt__", "__ge__",
  ]

  /// `object.name`: the attribute before the element, as the reference looks.
  func attribute(_ object: JinjaValue, _ name: JinjaName) throws(TemplateError) -> JinjaValue {
    if let found = try ownAttribute(object, name) { return found }
    if case .dict(let dict) = object, let found = dict[name.text] { return found }
    return missing(object, .text(name.text))
  }

  /// `object[key]`: the element before the attribute.
  func element(_ object: JinjaValue, _ key: JinjaValue) throws(TemplateError) -> JinjaValue {
    switch object {
    case .undefined(let undefined): throw undefined.error
    case .dict(let dict):
      if case .list = key { return missing(object, key) }
      if case .dict = key { return missing(object, key) }
      if let found = try dict.value(for: key) { return found }
    case .list(let list), .tuple(let list):
      if let index = key.asInt, let found = Self.item(list.items, at: index) { return found }
    case .text(let text):
      if let index = key.asInt, let found = Self.character(of: text, at: index) { return .text(found) }
    case .object(let range as JinjaRange):
      if let index = key.asInt {
        let place = index < 0 ? index + range.length : index
        if place >= 0, place < range.length { return .int(range[place]) }
      }
    case .object(let bytes as JinjaBytes):
      if let index = key.asInt, let found = Self.item(bytes.bytes.map { .int(Int($0)) }, at: index) { return found }
    default: break
    }
    if case .text(let name) = key, let found = try ownAttribute(object, JinjaName(name)) { return found }
    return missing(object, key)
  }

  private static func item(_ items: [JinjaValue], at index: Int) -> JinjaValue? {
    let place = index < 0 ? index &+ items.count : index
    return place >= 0 && place < items.count ? items[place] : nil
  }

  private static func character(of text: JinjaText, at index: Int) -> JinjaText? {
    let place = index < 0 ? index &+ text.count : index
    guard place >= 0, place < text.bytes.count else { return nil }
    let offset = text.offset(of: place)
    guard offset < text.bytes.count else { return nil }
    return JinjaText(text.bytes[offset..<min(offset + JinjaText.width(of: text.bytes[offset]), text.bytes.count)])
  }

  /// What Python's `getattr` finds, guarded by the sandbox: methods, properties, and nothing of a dictionary's members.
  private func ownAttribute(_ object: JinjaValue, _ name: JinjaName) throws(TemplateError) -> JinjaValue? {
    if case .undefined(let undefined) = object { throw undefined.error }
    if name.text.bytes.first == UInt8(ascii: "_") {
      return Self.hiddenNames.contains(name.text.string) ? unsafe(object, name.text) : nil
    }
    switch object {
    case .object(let loop as JinjaLoop): return try loop.property(name.text)
    case .object(is JinjaSelf):
      return program.blocks[name.text.string] == nil ? nil : .object(JinjaBlock(name.text.string))
    case .object(let other):
      if let found = other.attribute(name.text) { return found }
    case .tuple(let list) where list.isGroup:
      if name.text == "grouper" { return list.items[0] }
      if name.text == "list" { return list.items[1] }
    case .int, .bool, .double:
      if let found = Self.numberAttribute(object, name.text) { return found }
    default: break
    }
    guard let method = name.method else { return nil }
    if method.changes(object) { return unsafe(object, name.text) }
    return method.belongs(to: object) ? .object(JinjaMethod(receiver: object, name: name.text)) : nil
  }

  private static func numberAttribute(_ object: JinjaValue, _ name: JinjaText) -> JinjaValue? {
    switch (name.string, object) {
    case ("real", .bool(let flag)): .int(flag ? 1 : 0)
    case ("real", _): object
    case ("imag", .double): .double(0)
    case ("imag", _): .int(0)
    case ("numerator", .int), ("numerator", .bool): object.asInt.map { .int($0) }
    case ("denominator", .int), ("denominator", .bool): .int(1)
    default: nil
    }
  }

  private func unsafe(_ object: JinjaValue, _ name: JinjaText) -> JinjaValue {
    .undefined(
      JinjaUndefined(
        "access to attribute \(JinjaPrinter.quoted(name).string) of '\(object.typeName)' object is unsafe.",
        isSecurity: true))
  }

  private func missing(_ object: JinjaValue, _ key: JinjaValue) -> JinjaValue {
    let described = object.described
    if case .text(let name) = key {
      return .undefined(JinjaUndefined("'\(described)' has no attribute \(JinjaPrinter.quoted(name).string)"))
    }
    let printed = (try? JinjaPrinter.representation(key).string) ?? "<\(key.typeName)>"
    return .undefined(JinjaUndefined("\(described) has no element \(printed)"))
  }

  // MARK: Slices

  private func evaluate(_ slice: JinjaSlice, of subject: JinjaExpression) throws(TemplateError) -> JinjaValue {
    let value = try evaluate(subject)
    let start = try bound(slice.start)
    let stop = try bound(slice.stop)
    let step = try bound(slice.step) ?? 1
    if step == 0 { throw .valueError("slice step cannot be zero") }
    switch value {
    case .undefined(let undefined): throw undefined.error
    case .list(let list): return .list(try JinjaList(Self.cut(list.items, start, stop, step)))
    case .tuple(let list): return .tuple(try JinjaList(Self.cut(list.items, start, stop, step)))
    case .text(let text): return .text(Self.cut(text, start, stop, step))
    case .object(let range as JinjaRange):
      let (first, end) = Self.bounds(range.length, start, stop, step)
      return .object(try JinjaRange(start: range[first], stop: range[end], step: range.step &* step))
    case .dict: throw .typeError("unhashable type: 'slice'")
    default: throw .typeError("'\(value.typeName)' object is not subscriptable")
    }
  }

  private func bound(_ expression: JinjaExpression?) throws(TemplateError) -> Int? {
    guard let expression else { return nil }
    let value = try evaluate(expression)
    if value.isNone { return nil }
    guard let number = value.asInt else {
      throw .typeError("slice indices must be integers or None or have an __index__ method")
    }
    return number
  }

  /// First position a slice selects from `count` elements, and the one where it has ended.
  private static func bounds(_ count: Int, _ start: Int?, _ stop: Int?, _ step: Int) -> (first: Int, end: Int) {
    func clamp(_ index: Int, _ low: Int, _ high: Int) -> Int { max(low, min(index < 0 ? index &+ count : index, high)) }
    if step > 0 { return (clamp(start ?? 0, 0, count), clamp(stop ?? count, 0, count)) }
    return (start.map { clamp($0, -1, count - 1) } ?? count - 1, stop.map { clamp($0, -1, count - 1) } ?? -1)
  }

  /// Positions a slice selects from `count` elements.
  static func places(_ count: Int, _ start: Int?, _ stop: Int?, _ step: Int) -> [Int] {
    let (first, end) = bounds(count, start, stop, step)
    let stride = max(-count - 1, min(step, count + 1))
    return (step > 0 ? first < end : first > end) ? Array(Swift.stride(from: first, to: end, by: stride)) : []
  }

  private static func cut(_ items: [JinjaValue], _ start: Int?, _ stop: Int?, _ step: Int) -> [JinjaValue] {
    places(items.count, start, stop, step).map { items[$0] }
  }

  private static func cut(_ text: JinjaText, _ start: Int?, _ stop: Int?, _ step: Int) -> JinjaText {
    if step == 1 {
      let needsCount = (start ?? 0) < 0 || (stop ?? 0) < 0
      let count = needsCount ? text.count : text.bytes.count
      let first = max(0, (start ?? 0) < 0 ? (start ?? 0) &+ count : start ?? 0)
      let end = stop.map { $0 < 0 ? $0 &+ count : $0 } ?? Int.max
      if first >= end { return JinjaText(bytes: [], isMarkup: text.isMarkup) }
      let range = text.offset(of: first)..<(end == Int.max ? text.bytes.count : text.offset(of: end))
      return JinjaText(bytes: Array(text.bytes[range]), isMarkup: text.isMarkup)
    }
    let scalars = text.scalars
    return JinjaText(places(scalars.count, start, stop, step).map { scalars[$0] }).marked(like: text)
  }
}
