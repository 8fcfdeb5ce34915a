import SwerveCore

/// A value inside a template, with Python's types and behaviour. Containers are immutable: the sandbox refuses every
/// method that would change one, so a value can be shared freely and its depth and size are known when it is made.
enum JinjaValue {
  case undefined(JinjaUndefined)
  case none
  case bool(Bool)
  case int(Int)
  case double(Double)
  case text(JinjaText)
  case list(JinjaList)
  case tuple(JinjaList)
  case dict(JinjaDict)
  case object(JinjaObject)

  static func text(_ string: String) -> Self { .text(JinjaText(string)) }
}

/// A name, attribute or element that was not there. It prints as nothing and is false; any other use fails with the
/// message that explains where it came from.
final class JinjaUndefined {
  private let makeMessage: () -> String
  let isSecurity: Bool

  init(_ message: @autoclosure @escaping () -> String, isSecurity: Bool = false) {
    self.makeMessage = message
    self.isSecurity = isSecurity
  }

  var error: TemplateError { isSecurity ? .security(makeMessage()) : .undefined(makeMessage()) }
}

/// The elements of a list or tuple.
final class JinjaList {
  let items: [JinjaValue]
  let depth: Int
  let weight: Int
  /// A tuple made by `groupby`, whose two elements are also called `grouper` and `list`.
  let isGroup: Bool

  init(_ items: [JinjaValue], isGroup: Bool = false) throws(TemplateError) {
    var depth = 0
    var weight = 16
    for item in items {
      depth = max(depth, item.depth)
      weight += item.weight
    }
    try JinjaLimits.check(depth: depth + 1)
    try JinjaLimits.check(weight: weight)
    self.items = items
    self.depth = depth + 1
    self.weight = weight
    self.isGroup = isGroup
  }

  private init() {
    items = []
    depth = 1
    weight = 16
    isGroup = false
  }
  static var empty: JinjaList { JinjaList() }
}

/// A dictionary in insertion order. Look-up is linear for at most 8 members and hashed above.
final class JinjaDict {
  let keys: [JinjaValue]
  let values: [JinjaValue]
  let depth: Int
  let weight: Int
  private let index: [JinjaKey: Int]

  static let linearLimit = 8

  /// Later members replace the value of an equal key and keep its place. Throws for keys that cannot be hashed.
  init(_ members: [(JinjaValue, JinjaValue)]) throws(TemplateError) {
    var keys: [JinjaValue] = []
    var values: [JinjaValue] = []
    var index: [JinjaKey: Int] = [:]
    keys.reserveCapacity(members.count)
    values.reserveCapacity(members.count)
    var depth = 0
    var weight = 16
    let isHashed = members.count > Self.linearLimit
    for (key, value) in members {
      depth = max(depth, key.depth, value.depth)
      weight += key.weight + value.weight
      let hashed = try JinjaKey(key)
      let place = isHashed ? index[hashed] : keys.firstIndex { $0.isEqual(to: key) }
      if let place {
        values[place] = value
      } else {
        if isHashed { index[hashed] = keys.count }
        keys.append(key)
        values.append(value)
      }
    }
    try JinjaLimits.check(depth: depth + 1)
    try JinjaLimits.check(weight: weight)
    self.keys = keys
    self.values = values
    self.index = index
    self.depth = depth + 1
    self.weight = weight
  }

  var count: Int { keys.count }

  subscript(name: JinjaText) -> JinjaValue? {
    if !index.isEmpty { return index[JinjaKey(text: name)].map { values[$0] } }
    for (place, key) in keys.enumerated() {
      if case .text(let text) = key, text == name { return values[place] }
    }
    return nil
  }

  /// Throws where `key` cannot be hashed.
  func value(for key: JinjaValue) throws(TemplateError) -> JinjaValue? {
    if case .text(let name) = key { return self[name] }
    let hashed = try JinjaKey(key)
    if !index.isEmpty { return index[hashed].map { values[$0] } }
    return keys.firstIndex { $0.isEqual(to: key) }.map { values[$0] }
  }

  var members: [(JinjaValue, JinjaValue)] { Array(zip(keys, values)) }
}

/// A value that Python can hash, compared as Python compares dictionary keys: `1`, `1.0` and `true` are the same.
struct JinjaKey: Hashable {
  let value: JinjaValue

  init(_ value: JinjaValue) throws(TemplateError) {
    switch value {
    case .list, .dict: throw .typeError("unhashable type: '\(value.typeName)'")
    case .tuple(let list): for item in list.items { _ = try JinjaKey(item) }
    default: break
    }
    self.value = value
  }
  init(text: JinjaText) { value = .text(text) }

  static func == (a: Self, b: Self) -> Bool { a.value.isEqual(to: b.value) }

  func hash(into hasher: inout Hasher) { Self.hash(value, into: &hasher) }

  private static func hash(_ value: JinjaValue, into hasher: inout Hasher) {
    switch value {
    case .undefined, .list, .dict: hasher.combine(0)
    case .none: hasher.combine(1)
    case .bool(let flag): hasher.combine(flag ? 1.0 : 0.0)
    case .int(let number): hasher.combine(Double(number))
    case .double(let number): hasher.combine(number)
    case .text(let text): text.hash(into: &hasher)
    case .tuple(let list): for item in list.items { hash(item, into: &hasher) }
    case .object(let object): hasher.combine(ObjectIdentifier(object))
    }
  }
}

extension JinjaValue {
  /// Containers inside this value; bounded when containers are made, so recursion over values is too.
  var depth: Int {
    switch self {
    case .list(let list), .tuple(let list): list.depth
    case .dict(let dict): dict.depth
    case .object(let object): object.depth
    default: 0
    }
  }

  /// Bytes reachable from this value, roughly.
  var weight: Int {
    switch self {
    case .text(let text): 32 + text.bytes.count
    case .list(let list), .tuple(let list): 16 + list.weight
    case .dict(let dict): 16 + dict.weight
    case .object(let object): 16 + object.weight
    default: 16
    }
  }

  /// Python's name of the type.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .int: "int"
    case .double: "float"
    case .text(let text): text.isMarkup ? "Markup" : "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dict: "dict"
    case .object(let object): object.typeName
    }
  }

  /// How messages about missing attributes name the value.
  var described: String {
    switch self {
    case .none: "None"
    case .undefined: "jinja2.runtime.Undefined object"
    case .text(let text) where text.isMarkup: "markupsafe.Markup object"
    case .object(let object): (object.module.map { $0 + "." } ?? "") + object.typeName + " object"
    default: typeName + " object"
    }
  }

  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let flag): flag
    case .int(let number): number != 0
    case .double(let number): number != 0
    case .text(let text): !text.isEmpty
    case .list(let list), .tuple(let list): !list.items.isEmpty
    case .dict(let dict): dict.count > 0
    case .object(let object): object.count.map { $0 > 0 } ?? true
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }
  var isNone: Bool { if case .none = self { true } else { false } }

  /// The value as an integer where Python has one at hand (`bool` is one).
  var asInt: Int? {
    switch self {
    case .int(let number): number
    case .bool(let flag): flag ? 1 : 0
    default: nil
    }
  }

  var asDouble: Double? { if case .double(let number) = self { number } else { asInt.map(Double.init) } }

  init(_ json: JSON) throws(TemplateError) {
    switch json {
    case .null: self = .none
    case .bool(let flag): self = .bool(flag)
    case .int(let number): self = .int(number)
    case .double(let number): self = .double(number)
    case .string(let string): self = .text(string)
    case .array(let items):
      var values: [JinjaValue] = []
      values.reserveCapacity(items.count)
      for item in items { values.append(try JinjaValue(item)) }
      self = .list(try JinjaList(values))
    case .object(let object): self = .dict(try JinjaDict(json: object))
    }
  }
}

extension JinjaDict {
  convenience init(json object: JSONObject) throws(TemplateError) {
    var members: [(JinjaValue, JinjaValue)] = []
    members.reserveCapacity(object.count)
    for place in 0..<object.count {
      members.append((.text(object.keys[place]), try JinjaValue(object.values[place])))
    }
    try self.init(members)
  }
}
