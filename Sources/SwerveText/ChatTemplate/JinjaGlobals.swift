/// Functions every template can call.
enum JinjaGlobal: String {
  case range, dict, namespace, cycler, joiner, lipsum
  case raiseException = "raise_exception"
  case strftimeNow = "strftime_now"
}

extension JinjaRenderer {
  func call(_ global: JinjaGlobal, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    switch global {
    case .raiseException:
      let values = try arguments.bind("raise_exception", ["message"], required: 1)
      throw .raised(try JinjaPrinter.text(values[0] ?? .none).string)
    case .strftimeNow:
      let values = try arguments.bind("strftime_now", ["format"], required: 1)
      guard case .text(let format)? = values[0] else {
        throw .typeError("strftime() argument 1 must be str, not \((values[0] ?? .none).typeName)")
      }
      return .text(try now.formatted(format))
    case .range: return .object(try range(arguments))
    case .dict: return .dict(try JinjaDict(try members("dict", arguments)))
    case .namespace:
      let namespace = JinjaNamespace()
      hold(namespace)
      for (key, value) in try members("namespace", arguments) {
        guard case .text(let name) = key else { continue }
        try namespace.set(name, value)
      }
      return .object(namespace)
    case .cycler:
      if arguments.positional.isEmpty {
        throw TemplateError(kind: .python, type: "RuntimeError", message: "at least one item has to be provided")
      }
      return .object(JinjaCycler(try JinjaList(arguments.positional)))
    case .joiner:
      let values = try arguments.bind("joiner", ["sep"])
      return .object(JinjaJoiner(values[0] ?? .text(", ")))
    case .lipsum: throw .runtime("lipsum() makes random text and is not available in chat templates")
    }
  }

  private func range(_ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaRange {
    if let (name, _) = arguments.named.first {
      throw .typeError("range() takes no keyword arguments, but got '\(name.string)'")
    }
    var numbers: [Int] = []
    for value in arguments.positional {
      guard let number = value.asInt else {
        throw .typeError("'\(value.typeName)' object cannot be interpreted as an integer")
      }
      numbers.append(number)
    }
    switch numbers.count {
    case 1: return try JinjaRange(start: 0, stop: numbers[0], step: 1)
    case 2: return try JinjaRange(start: numbers[0], stop: numbers[1], step: 1)
    case 3: return try JinjaRange(start: numbers[0], stop: numbers[1], step: numbers[2])
    default: throw .typeError("range expected 1 to 3 arguments, got \(numbers.count)")
    }
  }

  /// What Python's `dict(...)` accepts: a mapping or pairs, then named members.
  private func members(
    _ function: String, _ arguments: JinjaCallArguments
  ) throws(TemplateError) -> [(JinjaValue, JinjaValue)] {
    if arguments.positional.count > 1 {
      throw .typeError("\(function) expected at most 1 argument, got \(arguments.positional.count)")
    }
    var members: [(JinjaValue, JinjaValue)] = []
    switch arguments.positional.first {
    case nil: break
    case .dict(let dict)?: members = dict.members
    case .object(let namespace as JinjaNamespace)?:
      members = zip(namespace.names.map { .text($0) }, namespace.values).map { ($0, $1) }
    case let pairs?:
      for pair in try pairs.elements() {
        let items = try pair.elements()
        if items.count != 2 {
          throw .valueError("dictionary update sequence element has length \(items.count); 2 is required")
        }
        members.append((items[0], items[1]))
      }
    }
    for (name, value) in arguments.named { members.append((.text(name), value)) }
    return members
  }
}
