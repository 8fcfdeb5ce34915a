// JSON as an ordered value. The room's other files parse it (JSON+Parsing) and write it (JSON+Writing).
// It must not know any schema. Start here.

/// A JSON value that remembers the order of its keys and whether a number was written as an integer.
///
/// Templates print objects in the order the client wrote them, and configuration decoders must tell `16` from `"16"`;
/// both rule out a dictionary-backed representation.
public enum JSON: Sendable, Hashable {
  case null
  case bool(Bool)
  /// A number without fraction or exponent that fits 64 bits.
  case int(Int)
  case double(Double)
  case string(String)
  case array([JSON])
  case object(JSONObject)
}

/// An object's members in the order they were written; a key written twice keeps its first place and its last value.
///
/// Look-up is linear for at most 16 members and hashed above.
public struct JSONObject: Sendable {
  public private(set) var keys: [String] = []
  public private(set) var values: [JSON] = []
  private var index: [String: Int] = [:]

  private static let linearLimit = 16

  public init() {}

  public init(_ members: [(String, JSON)]) {
    for (key, value) in members { self[key] = value }
  }

  public var count: Int { keys.count }
  public var isEmpty: Bool { keys.isEmpty }

  public func position(of key: String) -> Int? {
    keys.count <= Self.linearLimit ? keys.firstIndex(of: key) : index[key]
  }

  public subscript(key: String) -> JSON? {
    get { position(of: key).map { values[$0] } }
    set {
      switch (position(of: key), newValue) {
      case (let place?, let value?): values[place] = value
      case (nil, let value?):
        keys.append(key)
        values.append(value)
        if keys.count == Self.linearLimit + 1 {
          for (place, key) in keys.enumerated() { index[key] = place }
        } else if keys.count > Self.linearLimit {
          index[key] = keys.count - 1
        }
      case (let place?, nil):
        keys.remove(at: place)
        values.remove(at: place)
        index = [:]
        if keys.count > Self.linearLimit {
          for (place, key) in keys.enumerated() { index[key] = place }
        }
      case (nil, nil): break
      }
    }
  }
}

extension JSONObject: Sequence {
  public func makeIterator() -> AnyIterator<(key: String, value: JSON)> {
    var place = 0
    return AnyIterator {
      guard place < keys.count else { return nil }
      defer { place += 1 }
      return (keys[place], values[place])
    }
  }
}

extension JSONObject: Hashable {
  /// Equal when the members are, whatever their order.
  public static func == (a: Self, b: Self) -> Bool {
    a.count == b.count && zip(a.keys, a.values).allSatisfy { b[$0] == $1 }
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(count)
    for key in keys.sorted() { hasher.combine(key) }
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  public init(dictionaryLiteral elements: (String, JSON)...) { self.init(elements) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int) { self = .int(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(JSONObject(elements)) }
  public init(nilLiteral: ()) { self = .null }
}

// Queries that answer nil where the value is of another type: a caller that needs an error says so itself.
extension JSON {
  public subscript(key: String) -> JSON? { object?[key] }

  public subscript(index: Int) -> JSON? {
    guard case .array(let items) = self, items.indices.contains(index) else { return nil }
    return items[index]
  }

  public var isNull: Bool { self == .null }
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
  public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

  /// The integer, also where it was written with a zero fraction (`16.0`), as clients in dynamic languages do.
  public var int: Int? {
    switch self {
    case .int(let value): value
    case .double(let value): Int(exactly: value)
    default: nil
    }
  }

  public var double: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// What a person calls this kind of value, for error sentences.
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .int: "an integer"
    case .double: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}
