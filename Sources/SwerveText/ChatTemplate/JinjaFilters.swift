/// The filters of the environment: Jinja's own, with the reference's `tojson`.
enum JinjaFilter: String, Sendable {
  case abs, attr, batch, capitalize, center, count, d, `default`, dictsort, e, escape, filesizeformat, first, float
  case forceescape, format, groupby, indent, int, items, join, last, length, list, lower, map, max, min, pprint, random
  case reject, rejectattr, replace, reverse, round, safe, select, selectattr, slice, sort, string, striptags, sum, title
  case tojson, trim, truncate, unique, upper, urlencode, urlize, wordcount, wordwrap, xmlattr
}

extension JinjaRenderer {
  func apply(
    _ filter: JinjaFilter, _ value: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    let name = filter.rawValue
    switch filter {
    case .length, .count:
      _ = try arguments.bind(name, [])
      guard let length = value.length else { throw .typeError("object of type '\(value.typeName)' has no len()") }
      return .int(length)
    case .default, .d:
      let values = try arguments.bind(name, ["default_value", "boolean"])
      return value.isUndefined || (values[1]?.isTrue == true && !value.isTrue) ? values[0] ?? .text("") : value
    case .tojson: return try toJSON(value, arguments)
    case .items:
      _ = try arguments.bind(name, [])
      if value.isUndefined { return .object(try JinjaIterator([])) }
      guard case .dict(let dict) = value else { throw .typeError("Can only get item pairs from a mapping.") }
      return .object(try JinjaIterator(try JinjaView(.items, dict).items()))
    case .list:
      _ = try arguments.bind(name, [])
      return .list(try JinjaList(try value.elements()))
    case .join, .first, .last, .random, .reverse, .sort, .unique, .min, .max, .sum, .groupby, .dictsort, .batch, .slice,
      .map, .select, .reject, .selectattr, .rejectattr:
      return try applySequence(filter, value, arguments)
    case .abs, .int, .float, .round, .filesizeformat: return try applyNumber(filter, value, arguments)
    case .attr:
      let values = try arguments.bind(name, ["name"], required: 1)
      let attribute = JinjaName(try JinjaPrinter.text(values[0] ?? .none))
      if case .dict = value, attribute.method == nil { return try missingAttribute(value, attribute) }
      return try self.attribute(value, attribute)
    case .wordcount:
      _ = try arguments.bind(name, [])
      return .int(Self.wordCount(try JinjaPrinter.text(value)))
    default: return .text(try applyText(filter, value, arguments))
    }
  }

  /// `attr` looks only at attributes, never at a dictionary's members; what is missing is reported the same way.
  private func missingAttribute(_ value: JinjaValue, _ name: JinjaName) throws(TemplateError) -> JinjaValue {
    try attribute(.dict(try JinjaDict([])), name)
  }

  private func applyNumber(
    _ filter: JinjaFilter, _ value: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    switch filter {
    case .abs:
      if case .double(let number) = value { return .double(number.magnitude) }
      guard let number = value.asInt else { throw .typeError("bad operand type for abs(): '\(value.typeName)'") }
      return number < 0 ? try JinjaValue.int(number).negated() : .int(number)
    case .int:
      let values = try arguments.bind("int", ["default", "base"])
      if case .undefined(let undefined) = value { throw undefined.error }
      return Self.integer(value, base: values[1]?.asInt ?? 10) ?? values[0] ?? .int(0)
    case .float:
      let values = try arguments.bind("float", ["default"])
      switch value {
      case .undefined(let undefined): throw undefined.error
      case .text(let text): return PythonFloat.parse(text).map { .double($0) } ?? values[0] ?? .double(0)
      default: return value.asDouble.map { .double($0) } ?? values[0] ?? .double(0)
      }
    case .round: return try round(value, arguments)
    default: return .text(try fileSize(value, arguments))
    }
  }

  private static func integer(_ value: JinjaValue, base: Int) -> JinjaValue? {
    switch value {
    case .text(let text):
      if let number = PythonFloat.parseInt(text, base: base) { return .int(number) }
      return PythonFloat.parse(text).flatMap { Int(exactly: $0.rounded(.towardZero)) }.map { .int($0) }
    case .double(let number): return Int(exactly: number.rounded(.towardZero)).map { .int($0) }
    default: return value.asInt.map { .int($0) }
    }
  }

  private func round(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    let values = try arguments.bind("round", ["precision", "method"])
    let places = values[0]?.asInt ?? 0
    let method = try values[1].map { (value) throws(TemplateError) in try JinjaPrinter.text(value).string } ?? "common"
    guard ["common", "ceil", "floor"].contains(method) else {
      throw .argument("method must be common, ceil or floor")
    }
    if case .undefined(let undefined) = value { throw undefined.error }
    guard let number = value.asDouble else {
      throw .typeError("type \(value.typeName) doesn't define __round__ method")
    }
    if method == "common" {
      guard let whole = value.asInt else { return .double(PythonFloat.rounded(number, places: places)) }
      if places >= 0 { return .int(whole) }
      return .int(Int(exactly: PythonFloat.rounded(Double(whole), places: places)) ?? whole)
    }
    let scale = try JinjaValue.apply(.power, .int(10), .int(places))
    let scaled = try JinjaValue.apply(.multiply, value, scale).asDouble ?? 0
    let whole = method == "ceil" ? scaled.rounded(.up) : scaled.rounded(.down)
    guard whole.isFinite else { throw .overflow("cannot convert float infinity to integer") }
    return try JinjaValue.apply(.divide, .double(whole), scale)
  }

  private func fileSize(_ value: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaText {
    let isBinary = try arguments.bind("filesizeformat", ["binary"])[0]?.isTrue ?? false
    var size = value.asDouble
    if case .text(let text) = value { size = PythonFloat.parse(text) }
    guard let size, size.isFinite else { throw .valueError("could not convert the value to float") }
    let base: Double = isBinary ? 1024 : 1000
    if size == 1 { return "1 Byte" }
    if size < base { return JinjaText("\(Int(exactly: size.rounded(.towardZero)) ?? 0) Bytes") }
    let units =
      isBinary
      ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"] : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    var unit = base
    var place = -1
    repeat {
      place += 1
      unit *= base
    } while size >= unit && place + 1 < units.count
    return JinjaText(PythonFloat.printed(base * size / unit, conversion: "f", precision: 1) + " " + units[place])
  }
}
