/// Reads the Ruby dialect of regular expressions that the reference library's engine uses: `(?i:…)`, look-around, atomic
/// groups, possessive `?+ *+ ++`, nested classes with `&&`, `\p{…}`, `\h`, `\R`. Back-references, recursion, conditions
/// and `\X` are refused. `^` and `$` match at lines, `.` not at a newline, as that dialect has it.
struct PatternParser {
  private let source: [UInt32]
  private var place = 0
  private var ignoresCase = false
  private var dotMatchesNewline = false
  private var isExtended = false
  private var depth = 0

  private static let maximumDepth = 60
  private static let maximumRepetition = 1000

  static func parse(_ pattern: String) throws(PatternError) -> PatternNode {
    var parser = PatternParser(source: pattern.unicodeScalars.map(\.value))
    let node = try parser.parseChoice()
    if parser.place < parser.source.count { throw parser.error("a ')' without its '('") }
    return node
  }

  private init(source: [UInt32]) { self.source = source }

  private func error(_ reason: String) -> PatternError { PatternError(reason: reason, offset: place) }

  private func peek(_ offset: Int = 0) -> Unicode.Scalar? {
    place + offset < source.count ? Unicode.Scalar(source[place + offset]) : nil
  }

  private mutating func take(_ text: String) -> Bool {
    let wanted = text.unicodeScalars.map(\.value)
    guard source.count - place >= wanted.count, Array(source[place..<place + wanted.count]) == wanted else { return false }
    place += wanted.count
    return true
  }

  // MARK: Structure

  private mutating func parseChoice() throws(PatternError) -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.maximumDepth { throw error("groups nested deeper than \(Self.maximumDepth) levels") }
    // An option such as (?i) without a colon holds to the end of the group it stands in.
    let outer = (ignoresCase, dotMatchesNewline, isExtended)
    defer { (ignoresCase, dotMatchesNewline, isExtended) = outer }
    var branches: [PatternNode] = []
    repeat { branches.append(try parseSequence()) } while take("|")
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func parseSequence() throws(PatternError) -> PatternNode {
    var items: [PatternNode] = []
    while let next = peek(), next != "|", next != ")" {
      if isExtended, skipExtended() { continue }
      guard let atom = try parseAtom() else { continue }
      items.append(try parseRepetition(of: atom))
    }
    return items.count == 1 ? items[0] : (items.isEmpty ? .empty : .sequence(items))
  }

  private mutating func skipExtended() -> Bool {
    guard let next = peek() else { return false }
    if next.properties.isWhitespace {
      place += 1
      return true
    }
    guard next == "#" else { return false }
    while let character = peek(), character != "\n" { place += 1 }
    return true
  }

  private mutating func parseRepetition(of atom: PatternNode) throws(PatternError) -> PatternNode {
    var node = atom
    while let next = peek() {
      var minimum = 0
      var maximum: Int?
      var isInterval = false
      switch next {
      case "*": place += 1
      case "+":
        place += 1
        minimum = 1
      case "?":
        place += 1
        maximum = 1
      case "{":
        guard let interval = try parseInterval() else { return node }
        (minimum, maximum) = interval
        isInterval = true
      default: return node
      }
      var kind = PatternNode.Repetition.greedy
      if take("?") {
        kind = .lazy
      } else if !isInterval, take("+") {
        kind = .possessive
      }
      node = .repeated(node, minimum: minimum, maximum: maximum, kind: kind)
    }
    return node
  }

  /// `{n}`, `{n,}`, `{,m}` or `{n,m}`; nil (and nothing consumed) where the brace is an ordinary character.
  private mutating func parseInterval() throws(PatternError) -> (Int, Int?)? {
    let start = place
    place += 1
    let low = try parseNumber()
    var high = low
    var hasComma = false
    if take(",") {
      hasComma = true
      high = try parseNumber()
    }
    guard take("}"), low != nil || (hasComma && high != nil) else {
      place = start
      return nil
    }
    if let low, let high, low > high { throw error("a repetition whose upper limit is below its lower one") }
    return (low ?? 0, high)
  }

  private mutating func parseNumber() throws(PatternError) -> Int? {
    var value: Int?
    while let digit = peek(), let number = digit.properties.numericType == .decimal && digit.isASCII
      ? Int(digit.value - 48) : nil
    {
      value = (value ?? 0) * 10 + number
      if value! > Self.maximumRepetition { throw error("a repetition of more than \(Self.maximumRepetition)") }
      place += 1
    }
    return value
  }

  // MARK: Atoms

  private mutating func parseAtom() throws(PatternError) -> PatternNode? {
    guard let next = peek() else { return .empty }
    switch next {
    case "(": return try parseGroup()
    case "[": return .set(try parseClass())
    case ".":
      place += 1
      return .set(dotMatchesNewline ? .range(0...0x10FFFF) : .inverted(.range(10...10)))
    case "^":
      place += 1
      return .anchor(.lineStart)
    case "$":
      place += 1
      return .anchor(.lineEnd)
    case "\\": return try parseEscape()
    case "*", "+", "?": throw error("'\(next)' has nothing to repeat")
    default:
      place += 1
      return literal(next.value)
    }
  }

  private func literal(_ scalar: UInt32) -> PatternNode {
    guard ignoresCase else { return .scalar(scalar) }
    let variants = LetterCase.variants(of: scalar)
    return variants.count == 1 ? .scalar(scalar) : .set(.union(variants.map { .range($0...$0) }))
  }

  private mutating func parseGroup() throws(PatternError) -> PatternNode? {
    place += 1
    guard take("?") else { return try closeGroup(parseChoice()) }
    if take(":") { return try closeGroup(parseChoice()) }
    if take("=") { return .look(try closeGroup(parseChoice()), isAhead: true, isNegative: false) }
    if take("!") { return .look(try closeGroup(parseChoice()), isAhead: true, isNegative: true) }
    if take(">") { return .atomic(try closeGroup(parseChoice())) }
    if take("<=") { return try lookBehind(isNegative: false) }
    if take("<!") { return try lookBehind(isNegative: true) }
    if take("#") {
      while let character = peek(), character != ")" { place += 1 }
      guard take(")") else { throw error("a comment without its ')'") }
      return nil
    }
    if take("<") || take("'") || take("P<") {
      while let character = peek(), character != ">", character != "'" { place += 1 }
      place += 1
      return try closeGroup(parseChoice())
    }
    return try parseOptions()
  }

  private mutating func closeGroup(_ node: PatternNode) throws(PatternError) -> PatternNode {
    guard take(")") else { throw error("a '(' without its ')'") }
    return node
  }

  private mutating func lookBehind(isNegative: Bool) throws(PatternError) -> PatternNode {
    let node = try closeGroup(parseChoice())
    guard let widest = node.width.maximum, widest <= 255 else { throw error("a look-behind without an upper length") }
    return .look(node, isAhead: false, isNegative: isNegative)
  }

  private mutating func parseOptions() throws(PatternError) -> PatternNode? {
    let outer = (ignoresCase, dotMatchesNewline, isExtended)
    var isOn = true
    while let option = peek(), option != ":", option != ")" {
      switch option {
      case "-": isOn = false
      case "i": ignoresCase = isOn
      case "m": dotMatchesNewline = isOn
      case "x": isExtended = isOn
      default: throw error("an unknown group option '\(option)'; i, m and x work")
      }
      place += 1
    }
    if take(":") {
      let node = try closeGroup(parseChoice())
      (ignoresCase, dotMatchesNewline, isExtended) = outer
      return node
    }
    guard take(")") else { throw error("a '(' without its ')'") }
    // The rest of the enclosing group is one alternation under the new options.
    return try parseChoice()
  }

  // MARK: Escapes

  private mutating func parseEscape() throws(PatternError) -> PatternNode {
    guard let next = peek(1) else { throw error("a '\\' at the end") }
    place += 2
    switch next {
    case "A": return .anchor(.textStart)
    case "z": return .anchor(.textEnd)
    case "Z": return .anchor(.textEndOrNewline)
    case "b": return .anchor(.wordBoundary)
    case "B": return .anchor(.notWordBoundary)
    case "R":
      return .atomic(.choice([.sequence([.scalar(13), .scalar(10)]), .set(Self.lineBreaks)]))
    case "1", "2", "3", "4", "5", "6", "7", "8", "9", "k", "g", "X", "G", "K":
      throw error("'\\\(next)' is not supported; patterns without references work")
    default:
      if let set = try classEscape(next) { return .set(ignoresCase ? .anyCase(set) : set) }
      return literal(try scalarEscape(next))
    }
  }

  private static let lineBreaks = CharacterSet.union([.range(10...13), .range(0x85...0x85), .range(0x2028...0x2029)])
  private static let hexDigits = CharacterSet.union([.range(48...57), .range(65...70), .range(97...102)])
  private static let digits = CharacterSet.categories(1 << 9)

  /// `\d \w \s \h \p{…}` and their opposites; nil for another escape. The letter is already consumed.
  private mutating func classEscape(_ letter: Unicode.Scalar) throws(PatternError) -> CharacterSet? {
    switch letter {
    case "d": return Self.digits
    case "D": return .inverted(Self.digits)
    case "w": return .flag(CharacterProperties.Flag.word.bit)
    case "W": return .inverted(.flag(CharacterProperties.Flag.word.bit))
    case "s": return .flag(CharacterProperties.Flag.space.bit)
    case "S": return .inverted(.flag(CharacterProperties.Flag.space.bit))
    case "h": return Self.hexDigits
    case "H": return .inverted(Self.hexDigits)
    case "p", "P": return try property(isNegative: letter == "P")
    default: return nil
    }
  }

  private mutating func property(isNegative: Bool) throws(PatternError) -> CharacterSet {
    var name = ""
    if take("{") {
      while let character = peek(), character != "}" {
        name.unicodeScalars.append(character)
        place += 1
      }
      guard take("}") else { throw error("a \\p{ without its '}'") }
    } else if let letter = peek() {
      name.unicodeScalars.append(letter)
      place += 1
    }
    var isInverted = isNegative
    if name.hasPrefix("^") {
      isInverted.toggle()
      name.removeFirst()
    }
    for prefix in ["Script=", "sc=", "General_Category=", "gc=", "Is"] where name.hasPrefix(prefix) && name != "Is" {
      name.removeFirst(prefix.count)
    }
    guard let set = Self.namedSet(name) else { throw error("an unknown property '\(name)'") }
    return isInverted ? .inverted(set) : set
  }

  private static func namedSet(_ name: String) -> CharacterSet? {
    switch name.lowercased() {
    case "alpha", "alphabetic": return .flag(CharacterProperties.Flag.alphabetic.bit)
    case "alnum": return .union([.flag(CharacterProperties.Flag.alphabetic.bit), digits])
    case "space", "white_space": return .flag(CharacterProperties.Flag.space.bit)
    case "word": return .flag(CharacterProperties.Flag.word.bit)
    case "digit": return digits
    case "xdigit": return hexDigits
    case "upper", "uppercase": return .flag(CharacterProperties.Flag.upper.bit)
    case "lower", "lowercase": return .flag(CharacterProperties.Flag.lower.bit)
    case "cntrl": return .categories(GeneralCategory.mask(named: "Cc") ?? 0)
    case "punct": return .flag(CharacterProperties.Flag.symbol.bit)
    case "blank": return .union([.categories(GeneralCategory.mask(named: "Zs") ?? 0), .range(9...9)])
    case "ascii": return .range(0...127)
    case "graph", "print":
      let hidden: CharacterSet = .categories(
        (GeneralCategory.mask(named: "Cc") ?? 0) | (GeneralCategory.mask(named: "Cn") ?? 0)
          | (GeneralCategory.mask(named: "Cs") ?? 0))
      let space: CharacterSet = .flag(CharacterProperties.Flag.space.bit)
      return name.lowercased() == "graph"
        ? .inverted(.union([hidden, space])) : .union([.inverted(hidden), .categories(1 << 23)])
    default:
      if let mask = GeneralCategory.mask(named: name) { return .categories(mask) }
      return Scripts.ranges(named: name).map { .union($0.map { .range($0) }) }
    }
  }

  /// A single character written as an escape. The letter is already consumed.
  private mutating func scalarEscape(_ letter: Unicode.Scalar) throws(PatternError) -> UInt32 {
    switch letter {
    case "n": return 10
    case "r": return 13
    case "t": return 9
    case "f": return 12
    case "v": return 11
    case "a": return 7
    case "e": return 27
    case "0": return 0
    case "x":
      if take("{") {
        let value = try hexNumber(upTo: 8)
        guard take("}") else { throw error("a \\x{ without its '}'") }
        return value
      }
      return try hexNumber(upTo: 2)
    case "u": return try hexNumber(upTo: 4)
    default: return letter.value
    }
  }

  private mutating func hexNumber(upTo digits: Int) throws(PatternError) -> UInt32 {
    var value: UInt32 = 0
    var count = 0
    while count < digits, let digit = peek(), let number = Character(digit).hexDigitValue, digit.isASCII {
      value = value << 4 | UInt32(number)
      count += 1
      place += 1
    }
    guard count > 0, value < 0x110000 else { throw error("a code point that does not exist") }
    return value
  }

  // MARK: Classes

  private mutating func parseClass() throws(PatternError) -> CharacterSet {
    depth += 1
    defer { depth -= 1 }
    if depth > Self.maximumDepth { throw error("classes nested deeper than \(Self.maximumDepth) levels") }
    place += 1
    let isInverted = take("^")
    var groups: [CharacterSet] = []
    var members: [CharacterSet] = []
    var isFirst = true
    while true {
      guard let next = peek() else { throw error("a '[' without its ']'") }
      if next == "]", !isFirst {
        place += 1
        break
      }
      isFirst = false
      if take("&&") {
        groups.append(.union(members))
        members = []
      } else if next == "[" {
        if let posix = try posixClass() { members.append(posix) } else { members.append(try parseClass()) }
      } else if let set = try classMemberSet() {
        members.append(set)
      } else {
        members.append(try classRange())
      }
    }
    groups.append(.union(members))
    var set = groups.count == 1 ? groups[0] : .intersection(groups)
    if ignoresCase { set = .anyCase(set) }
    return isInverted ? .inverted(set) : set
  }

  private mutating func posixClass() throws(PatternError) -> CharacterSet? {
    let start = place
    guard take("[:") else { return nil }
    let isInverted = take("^")
    var name = ""
    while let character = peek(), character.properties.isAlphabetic {
      name.unicodeScalars.append(character)
      place += 1
    }
    guard take(":]") else {
      place = start
      return nil
    }
    guard let set = Self.namedSet(name) else { throw error("an unknown class '[:\(name):]'") }
    return isInverted ? .inverted(set) : set
  }

  private mutating func classMemberSet() throws(PatternError) -> CharacterSet? {
    guard peek() == "\\", let letter = peek(1) else { return nil }
    let start = place
    place += 2
    if let set = try classEscape(letter) { return set }
    if letter == "R" { return Self.lineBreaks }
    place = start
    return nil
  }

  private mutating func classRange() throws(PatternError) -> CharacterSet {
    let low = try classScalar()
    guard peek() == "-", let after = peek(1), after != "]" else { return .range(low...low) }
    let mark = place
    place += 1
    if after == "[" || (after == "&" && peek(1) == "&") {
      place = mark + 1
      return .union([.range(low...low), .range(45...45)])
    }
    if after == "\\", let letter = peek(1), "dDwWsShHpP".unicodeScalars.contains(letter) {
      return .union([.range(low...low), .range(45...45)])
    }
    let high = try classScalar()
    guard low <= high else { throw error("a range that ends before it begins") }
    return .range(low...high)
  }

  private mutating func classScalar() throws(PatternError) -> UInt32 {
    guard let next = peek() else { throw error("a '[' without its ']'") }
    place += 1
    guard next == "\\" else { return next.value }
    guard let letter = peek() else { throw error("a '\\' at the end") }
    place += 1
    return letter == "b" ? 8 : try scalarEscape(letter)
  }
}
