/// What may follow `is`.
enum JinjaTest: String, Sendable {
  case boolean, callable, defined, divisibleby, eq, equalto, escaped, even, `false`, filter, float, ge, greaterthan, gt
  case `in`, integer, iterable, le, lessthan, lower, lt, mapping, ne, none, number, odd, sameas, sequence, string, test
  case `true`, undefined, upper
  case equalSymbol = "=="
  case notEqualSymbol = "!="
  case lessSymbol = "<"
  case lessOrEqualSymbol = "<="
  case greaterSymbol = ">"
  case greaterOrEqualSymbol = ">="

  fileprivate var comparison: JinjaComparison? {
    switch self {
    case .eq, .equalto, .equalSymbol: .equal
    case .ne, .notEqualSymbol: .notEqual
    case .lt, .lessthan, .lessSymbol: .less
    case .le, .lessOrEqualSymbol: .lessOrEqual
    case .gt, .greaterthan, .greaterSymbol: .greater
    case .ge, .greaterOrEqualSymbol: .greaterOrEqual
    case .in: .contained
    default: nil
    }
  }
}

extension JinjaRenderer {
  func check(
    _ test: JinjaTest, _ value: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> Bool {
    if let comparison = test.comparison {
      let values = try arguments.bind(test.rawValue, ["other"], required: 1)
      return try Self.compare(value, comparison, values[0] ?? .none)
    }
    switch test {
    case .divisibleby:
      let values = try arguments.bind(test.rawValue, ["num"], required: 1)
      return try JinjaValue.apply(.modulo, value, values[0] ?? .none).isEqual(to: .int(0))
    case .sameas:
      let values = try arguments.bind(test.rawValue, ["other"], required: 1)
      return Self.isSame(value, values[0] ?? .none)
    default: _ = try arguments.bind(test.rawValue, [])
    }
    switch (test, value) {
    case (.defined, _): return !value.isUndefined
    case (.undefined, _): return value.isUndefined
    case (.none, _): return value.isNone
    case (.boolean, .bool): return true
    case (.true, .bool(let flag)): return flag
    case (.false, .bool(let flag)): return !flag
    case (.integer, .int): return true
    case (.float, .double): return true
    case (.number, _): return value.asDouble != nil
    case (.string, .text): return true
    case (.mapping, .dict): return true
    case (.iterable, _): return value.isIterable
    case (.sequence, .object(let object)): return object is JinjaRange || object is JinjaBytes
    // An undefined value has a length and, as the reference sees it, raises nothing when asked for its elements.
    case (.sequence, _): return value.length != nil
    case (.callable, .object(let object)): return object.isCallable
    case (.callable, .undefined): return true
    case (.escaped, .text(let text)): return text.isMarkup
    case (.odd, _): return try JinjaValue.apply(.modulo, value, .int(2)).isEqual(to: .int(1))
    case (.even, _): return try JinjaValue.apply(.modulo, value, .int(2)).isEqual(to: .int(0))
    case (.lower, _): return try JinjaPrinter.text(value).isLower
    case (.upper, _): return try JinjaPrinter.text(value).isUpper
    case (.filter, .text(let name)): return JinjaFilter(rawValue: name.string) != nil
    case (.test, .text(let name)): return JinjaTest(rawValue: name.string) != nil
    default: return false
    }
  }

  /// Python's `is`, as far as values have an identity.
  private static func isSame(_ a: JinjaValue, _ b: JinjaValue) -> Bool {
    switch (a, b) {
    case (.list(let x), .list(let y)), (.tuple(let x), .tuple(let y)): return x === y
    case (.dict(let x), .dict(let y)): return x === y
    case (.object(let x), .object(let y)): return x === y
    case (.undefined(let x), .undefined(let y)): return x === y
    case (.none, .none): return true
    case (.bool(let x), .bool(let y)): return x == y
    case (.int(let x), .int(let y)): return x == y
    case (.text(let x), .text(let y)): return x == y
    case (.double(let x), .double(let y)): return x == y
    default: return false
    }
  }
}
