#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The arithmetic operators of the expression language.
enum JinjaOperator: String, Sendable {
  case add = "+"
  case subtract = "-"
  case multiply = "*"
  case divide = "/"
  case floorDivide = "//"
  case modulo = "%"
  case power = "**"
}

// Arithmetic as Python has it, on 64-bit integers: a result that does not fit is an error, not a wrapped number.
extension JinjaValue {
  static func apply(_ operation: JinjaOperator, _ a: JinjaValue, _ b: JinjaValue) throws(TemplateError) -> JinjaValue {
    switch (a, b) {
    case (.undefined(let undefined), _): throw undefined.error
    // Formatting with an undefined argument prints nothing for it; every other operator fails.
    case (.text, .undefined) where operation == .modulo: break
    case (_, .undefined(let undefined)): throw undefined.error
    default: break
    }
    switch operation {
    case .add:
      if case .text(let x) = a { return try add(x, b) }
      if case .text(let y) = b, y.isMarkup { return try add(a, markup: y) }
      if case .list(let x) = a {
        guard case .list(let y) = b else {
          throw .typeError("can only concatenate list (not \"\(b.typeName)\") to list")
        }
        return .list(try JinjaList(x.items + y.items))
      }
      if case .tuple(let x) = a {
        guard case .tuple(let y) = b else {
          throw .typeError("can only concatenate tuple (not \"\(b.typeName)\") to tuple")
        }
        return .tuple(try JinjaList(x.items + y.items))
      }
    case .multiply:
      if let count = b.asInt, let repeated = try a.repeated(count) { return repeated }
      if let count = a.asInt, let repeated = try b.repeated(count) { return repeated }
    case .modulo:
      if case .text(let format) = a { return .text(try PercentFormat.apply(format, b)) }
    default: break
    }
    if let x = a.asInt, let y = b.asInt { return try integers(operation, x, y) }
    if let x = a.asDouble, let y = b.asDouble { return .double(try doubles(operation, x, y)) }
    let symbol = operation == .power ? "** or pow()" : operation.rawValue
    throw .typeError("unsupported operand type(s) for \(symbol): '\(a.typeName)' and '\(b.typeName)'")
  }

  private static func add(_ x: JinjaText, _ b: JinjaValue) throws(TemplateError) -> JinjaValue {
    guard case .text(let y) = b else {
      if x.isMarkup { throw .typeError("unsupported operand type(s) for +: 'Markup' and '\(b.typeName)'") }
      throw .typeError("can only concatenate str (not \"\(b.typeName)\") to str")
    }
    let isMarkup = x.isMarkup || y.isMarkup
    let left = isMarkup ? x.escaped : x
    let right = isMarkup ? y.escaped : y
    try JinjaLimits.check(textBytes: left.bytes.count + right.bytes.count)
    return .text(JinjaText(bytes: left.bytes + right.bytes, isMarkup: isMarkup))
  }

  private static func add(_ a: JinjaValue, markup y: JinjaText) throws(TemplateError) -> JinjaValue {
    throw .typeError("unsupported operand type(s) for +: '\(a.typeName)' and 'Markup'")
  }

  private func repeated(_ count: Int) throws(TemplateError) -> JinjaValue? {
    switch self {
    case .text(let text):
      let (size, isOver) = text.bytes.count.multipliedReportingOverflow(by: max(0, count))
      try JinjaLimits.check(textBytes: isOver ? Int.max : size)
      var bytes: [UInt8] = []
      bytes.reserveCapacity(size)
      if !text.isEmpty { for _ in 0..<max(0, count) { bytes += text.bytes } }
      return .text(JinjaText(bytes: bytes, isMarkup: text.isMarkup))
    case .list(let list): return .list(try JinjaList(try Self.repeated(list, count)))
    case .tuple(let list): return .tuple(try JinjaList(try Self.repeated(list, count)))
    default: return nil
    }
  }

  private static func repeated(_ list: JinjaList, _ count: Int) throws(TemplateError) -> [JinjaValue] {
    let times = list.items.isEmpty ? 0 : max(0, count)
    let (weight, isOver) = list.weight.multipliedReportingOverflow(by: times)
    try JinjaLimits.check(weight: isOver ? Int.max : weight)
    var items: [JinjaValue] = []
    for _ in 0..<times { items += list.items }
    return items
  }

  private static func integers(_ operation: JinjaOperator, _ x: Int, _ y: Int) throws(TemplateError) -> JinjaValue {
    let result: (partialValue: Int, overflow: Bool)
    switch operation {
    case .add: result = x.addingReportingOverflow(y)
    case .subtract: result = x.subtractingReportingOverflow(y)
    case .multiply: result = x.multipliedReportingOverflow(by: y)
    case .divide:
      if y == 0 { throw .zeroDivision("division by zero") }
      return .double(Double(x) / Double(y))
    case .floorDivide:
      if y == 0 { throw .zeroDivision("integer division or modulo by zero") }
      result = x.dividedReportingOverflow(by: y)
      if !result.overflow, x % y != 0, (x < 0) != (y < 0) { return .int(result.partialValue - 1) }
    case .modulo:
      if y == 0 { throw .zeroDivision("integer division or modulo by zero") }
      let rest = x.remainderReportingOverflow(dividingBy: y).partialValue
      return .int(rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest)
    case .power:
      if y < 0 { return .double(try doubles(.power, Double(x), Double(y))) }
      result = integerPower(x, y)
    }
    if result.overflow { throw .overflow("an integer of more than 64 bits: \(x) \(operation.rawValue) \(y)") }
    return .int(result.partialValue)
  }

  private static func integerPower(_ base: Int, _ exponent: Int) -> (partialValue: Int, overflow: Bool) {
    var result = 1
    var factor = base
    var left = exponent
    while left > 0 {
      if left & 1 == 1 {
        let (product, isOver) = result.multipliedReportingOverflow(by: factor)
        if isOver { return (0, true) }
        result = product
      }
      left >>= 1
      if left > 0 {
        let (square, isOver) = factor.multipliedReportingOverflow(by: factor)
        if isOver { return (0, true) }
        factor = square
      }
    }
    return (result, false)
  }

  private static func doubles(_ operation: JinjaOperator, _ x: Double, _ y: Double) throws(TemplateError) -> Double {
    switch operation {
    case .add: return x + y
    case .subtract: return x - y
    case .multiply: return x * y
    case .divide:
      if y == 0 { throw .zeroDivision("float division by zero") }
      return x / y
    case .floorDivide:
      if y == 0 { throw .zeroDivision("float floor division by zero") }
      return ((x - pythonRemainder(x, y)) / y).rounded(.toNearestOrEven)
    case .modulo:
      if y == 0 { throw .zeroDivision("float modulo") }
      return pythonRemainder(x, y)
    case .power:
      if x == 0, y < 0 { throw .zeroDivision("0.0 cannot be raised to a negative power") }
      if x < 0, y.rounded() != y { throw .valueError("a negative number raised to a fractional power is complex") }
      let result = pow(x, y)
      if result.isInfinite, x.isFinite, y.isFinite { throw .overflow("(34, 'Numerical result out of range')") }
      return result
    }
  }

  private static func pythonRemainder(_ x: Double, _ y: Double) -> Double {
    let rest = fmod(x, y)
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest == 0 ? (y < 0 ? -0.0 : 0.0) : rest
  }

  func negated() throws(TemplateError) -> JinjaValue {
    switch self {
    case .undefined(let undefined): throw undefined.error
    case .double(let number): return .double(-number)
    default:
      guard let number = asInt else { throw .typeError("bad operand type for unary -: '\(typeName)'") }
      if number == Int.min { throw .overflow("an integer of more than 64 bits: -\(number)") }
      return .int(-number)
    }
  }

  func affirmed() throws(TemplateError) -> JinjaValue {
    switch self {
    case .undefined(let undefined): throw undefined.error
    case .double: return self
    default:
      guard let number = asInt else { throw .typeError("bad operand type for unary +: '\(typeName)'") }
      return .int(number)
    }
  }
}

extension JinjaText {
  /// HTML-escaped and marked as markup; markup stays as it is.
  var escaped: JinjaText {
    if isMarkup { return self }
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "&"): out.append(text: "&amp;")
      case UInt8(ascii: "<"): out.append(text: "&lt;")
      case UInt8(ascii: ">"): out.append(text: "&gt;")
      case UInt8(ascii: "'"): out.append(text: "&#39;")
      case UInt8(ascii: "\""): out.append(text: "&#34;")
      default: out.append(byte)
      }
    }
    return JinjaText(bytes: out, isMarkup: true)
  }
}
