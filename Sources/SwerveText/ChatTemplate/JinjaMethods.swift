/// Methods of Python's built-in types. Those that would change a list or dictionary are here to be refused.
enum JinjaMethodName: String, Sendable {
  // Strings
  case capitalize, casefold, center, encode, endswith, expandtabs, find, format, isalnum, isalpha, isascii, isdecimal
  case isdigit, isidentifier, islower, isnumeric, isprintable, isspace, istitle, isupper, join, ljust, lower, lstrip
  case partition, removeprefix, removesuffix, replace, rfind, rindex, rjust, rpartition, rsplit, rstrip, split
  case splitlines, startswith, strip, swapcase, title, upper, zfill
  case formatMap = "format_map"
  // Shared
  case count, index, copy
  // Dictionaries
  case get, items, keys, values, fromkeys
  // Numbers
  case isInteger = "is_integer"
  case bitLength = "bit_length"
  // Bytes
  case decode
  // Refused
  case append, clear, extend, insert, pop, popitem, remove, reverse, setdefault, sort, update

  /// Whether the sandbox refuses the method on this value because it would change it.
  func changes(_ value: JinjaValue) -> Bool {
    switch (value, self) {
    case (.list, .append), (.list, .clear), (.list, .pop), (.list, .reverse), (.list, .insert), (.list, .sort),
      (.list, .extend), (.list, .remove):
      true
    case (.dict, .clear), (.dict, .pop), (.dict, .popitem), (.dict, .setdefault), (.dict, .update): true
    default: false
    }
  }

  func belongs(to value: JinjaValue) -> Bool {
    switch value {
    case .text:
      switch self {
      case .copy, .get, .items, .keys, .values, .fromkeys, .isInteger, .bitLength, .decode, .append, .clear, .extend,
        .insert, .pop, .popitem, .remove, .reverse, .setdefault, .sort, .update:
        return false
      default: return true
      }
    case .list: return self == .count || self == .index || self == .copy
    case .tuple: return self == .count || self == .index
    case .dict: return self == .get || self == .items || self == .keys || self == .values || self == .copy
    case .double: return self == .isInteger
    case .int, .bool: return self == .bitLength
    case .object(let object):
      if object is JinjaRange { return self == .count || self == .index }
      if object is JinjaBytes { return self == .decode }
      if let function = object as? JinjaFunction { return function.global == .dict && self == .fromkeys }
      return false
    default: return false
    }
  }
}

extension JinjaRenderer {
  /// Calls a method that belongs to the receiver.
  func call(
    _ method: JinjaMethodName, of receiver: JinjaValue, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    switch receiver {
    case .text(let text): return try call(method, of: text, arguments)
    case .list(let list), .tuple(let list):
      if method == .copy { return receiver }
      let values = try arguments.bind(method.rawValue, ["value", "start", "stop"], required: 1)
      let wanted = values[0] ?? .none
      if method == .count { return .int(list.items.filter { $0.isEqual(to: wanted) }.count) }
      let places = Self.places(list.items.count, values[1]?.asInt, values[2]?.asInt, 1)
      if let place = places.first(where: { list.items[$0].isEqual(to: wanted) }) { return .int(place) }
      throw .valueError("\(try JinjaPrinter.representation(wanted).string) is not in list")
    case .dict(let dict): return try call(method, of: dict, arguments)
    case .double(let number): return .bool(number.isFinite && number.rounded() == number)
    case .int, .bool:
      let magnitude = (receiver.asInt ?? 0).magnitude
      return .int(UInt.bitWidth - magnitude.leadingZeroBitCount)
    case .object(let range as JinjaRange):
      let values = try arguments.bind(method.rawValue, ["value"], required: 1)
      let place = values[0]?.asInt.flatMap { range.index(of: $0) }
      if method == .count { return .int(place == nil ? 0 : 1) }
      if let place { return .int(place) }
      throw .valueError("\(try JinjaPrinter.representation(values[0] ?? .none).string) is not in range")
    case .object(let bytes as JinjaBytes): return .text(JinjaText(String(decoding: bytes.bytes, as: UTF8.self)))
    case .object(is JinjaFunction):
      let values = try arguments.bind("fromkeys", ["iterable", "value"], required: 1)
      var members: [(JinjaValue, JinjaValue)] = []
      for key in try (values[0] ?? .none).elements() { members.append((key, values[1] ?? .none)) }
      return .dict(try JinjaDict(members))
    default: return .none
    }
  }

  private func call(
    _ method: JinjaMethodName, of dict: JinjaDict, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> JinjaValue {
    switch method {
    case .get:
      if !arguments.named.isEmpty { throw .typeError("dict.get() takes no keyword arguments") }
      let values = try arguments.bind("get", ["key", "default"], required: 1)
      return try dict.value(for: values[0] ?? .none) ?? values[1] ?? .none
    case .copy: return .dict(dict)
    default:
      _ = try arguments.bind(method.rawValue, [])
      return .object(JinjaView(method == .keys ? .keys : method == .values ? .values : .items, dict))
    }
  }
}
