/// The arguments of a call, evaluated.
struct JinjaCallArguments {
  var positional: [JinjaValue] = []
  var named: [(JinjaText, JinjaValue)] = []

  /// Sorts the arguments into parameters called `names`, of which the first `required` must be given. `function` is for
  /// the message where they do not fit.
  func bind(_ function: String, _ names: [String], required: Int = 0) throws(TemplateError) -> [JinjaValue?] {
    if positional.count > names.count {
      throw .typeError("\(function)() takes \(names.count) positional arguments but \(positional.count) were given")
    }
    var values: [JinjaValue?] = Array(repeating: nil, count: names.count)
    for (place, value) in positional.enumerated() { values[place] = value }
    for (name, value) in named {
      guard let place = names.firstIndex(of: name.string) else {
        throw .typeError("\(function)() got an unexpected keyword argument '\(name.string)'")
      }
      if values[place] != nil { throw .typeError("\(function)() got multiple values for argument '\(name.string)'") }
      values[place] = value
    }
    for place in 0..<required where values[place] == nil {
      throw .typeError("\(function)() missing 1 required positional argument: '\(names[place])'")
    }
    return values
  }
}

extension JinjaRenderer {
  func evaluate(_ arguments: JinjaArguments) throws(TemplateError) -> JinjaCallArguments {
    var values = JinjaCallArguments()
    if !arguments.positional.isEmpty {
      values.positional.reserveCapacity(arguments.positional.count)
      for argument in arguments.positional { values.positional.append(try evaluate(argument)) }
    }
    for (name, argument) in arguments.named { values.named.append((name, try evaluate(argument))) }
    if let star = arguments.star { values.positional += try evaluate(star).elements() }
    if let doubleStar = arguments.doubleStar {
      guard case .dict(let dict) = try evaluate(doubleStar) else {
        throw .typeError("argument after ** must be a mapping")
      }
      for (key, value) in dict.members {
        guard case .text(let name) = key else { throw .typeError("keywords must be strings") }
        if values.named.contains(where: { $0.0 == name }) {
          throw .typeError("got multiple values for keyword argument '\(name.string)'")
        }
        values.named.append((name, value))
      }
    }
    return values
  }

  /// `expression` is a call. A call block passes its body as `caller`.
  func evaluateCall(_ expression: JinjaExpression, caller: JinjaMacro?) throws(TemplateError) -> JinjaValue {
    guard case .call(let callee, let syntax) = expression.node else { return .none }
    // A method called on the spot needs no object for itself.
    if case .attribute(let object, let name) = callee.node, let method = name.method {
      let receiver = try evaluate(object)
      if caller == nil, method.belongs(to: receiver), !method.changes(receiver) {
        return try call(method, of: receiver, try evaluate(syntax))
      }
      return try call(try attribute(receiver, name), syntax, caller)
    }
    return try call(try evaluate(callee), syntax, caller)
  }

  private func call(
    _ function: JinjaValue, _ syntax: JinjaArguments, _ caller: JinjaMacro?
  ) throws(TemplateError) -> JinjaValue {
    var arguments = try evaluate(syntax)
    if let caller { arguments.named.append(("caller", .object(caller))) }
    return try call(function, arguments)
  }

  func call(_ function: JinjaValue, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    guard case .object(let object) = function else {
      if case .undefined(let undefined) = function { throw undefined.error }
      throw .typeError("'\(function.typeName)' object is not callable")
    }
    switch object {
    case let macro as JinjaMacro: return try call(macro, arguments)
    case let function as JinjaFunction: return try call(function.global, arguments)
    case let method as JinjaMethod:
      switch method.receiver {
      case .object(let loop as JinjaLoop):
        return method.name == "cycle"
          ? try loop.cycle(arguments.positional) : .bool(try loop.hasChanged(arguments.positional))
      case .object(let cycler as JinjaCycler):
        _ = try arguments.bind(method.name.string, [])
        if method.name == "next" { return cycler.next() }
        cycler.position = 0
        return .none
      default:
        guard let name = JinjaMethodName(rawValue: method.name.string) else { return .none }
        return try call(name, of: method.receiver, arguments)
      }
    case let joiner as JinjaJoiner:
      _ = try arguments.bind("joiner", [])
      if joiner.isUsed { return joiner.separator }
      joiner.isUsed = true
      return .text("")
    case let loop as JinjaLoop:
      let values = try arguments.bind("loop", ["iterable"], required: 1)
      guard let recurse = loop.recurse else {
        throw .typeError("The loop must have the 'recursive' marker to be called recursively.")
      }
      return .text(try recurse(values[0] ?? .none, loop.depth0 + 1))
    case let block as JinjaBlock:
      guard let syntax = program.blocks[block.name] else { return .none }
      return .text(try capture { () throws(TemplateError) in try run(syntax) })
    default: throw .typeError("'\(object.typeName)' object is not callable")
    }
  }

  /// Runs a macro's body with its parameters filled in the reference's order: positional, then named, then defaults.
  private func call(_ macro: JinjaMacro, _ arguments: JinjaCallArguments) throws(TemplateError) -> JinjaValue {
    try tick()
    let syntax = macro.syntax
    let scope = program.scopes[syntax.body.scope]
    let name = syntax.name.map { "'\($0)'" } ?? "None"
    var named = arguments.named
    func take(_ wanted: JinjaText) -> JinjaValue? {
      guard let place = named.firstIndex(where: { $0.0 == wanted }) else { return nil }
      return named.remove(at: place).1
    }
    var values: [JinjaValue?] = []
    values.reserveCapacity(syntax.parameters.count)
    for (place, parameter) in syntax.parameterNames.enumerated() {
      values.append(place < arguments.positional.count ? arguments.positional[place] : take(parameter))
    }
    let inner = JinjaFrame(slotCount: scope.slotCount, parent: macro.closure)
    if let slot = scope.callerSlot, !syntax.parameterNames.contains("caller") {
      inner.slots[slot] = take("caller") ?? .undefined(JinjaUndefined("No caller defined"))
    }
    if let slot = scope.kwargsSlot {
      inner.slots[slot] = .dict(try JinjaDict(named.map { (.text($0.0), $0.1) }))
    } else if let extra = named.first {
      if named.contains(where: { $0.0 == "caller" }) {
        throw .typeError(
          "macro \(name) was invoked with two values for the special caller argument. This is most likely a bug.")
      }
      throw .typeError("macro \(name) takes no keyword argument \(JinjaPrinter.quoted(extra.0).string)")
    }
    if let slot = scope.varargsSlot {
      inner.slots[slot] = .tuple(try JinjaList(Array(arguments.positional.dropFirst(syntax.parameters.count))))
    } else if arguments.positional.count > syntax.parameters.count {
      throw .typeError("macro \(name) takes not more than \(syntax.parameters.count) argument(s)")
    }

    let savedFrame = frame
    let savedLine = line
    defer {
      frame = savedFrame
      line = savedLine
    }
    frame = inner
    try enter(syntax.body.scope)
    for (place, occurrence) in syntax.parameters.enumerated() {
      if let value = values[place] { store(value, inName: occurrence) }
    }
    let firstDefault = syntax.parameters.count - syntax.defaults.count
    for (place, occurrence) in syntax.parameters.enumerated() where values[place] == nil {
      if place >= firstDefault {
        store(try evaluate(syntax.defaults[place - firstDefault]), inName: occurrence)
      } else {
        let parameter = syntax.parameterNames[place].string
        store(.undefined(JinjaUndefined("parameter '\(parameter)' was not provided")), inName: occurrence)
      }
    }
    return .text(try capture { () throws(TemplateError) in _ = try run(syntax.body.statements) })
  }
}
