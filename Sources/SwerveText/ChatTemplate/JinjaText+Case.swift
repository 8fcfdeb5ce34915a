// Upper and lower case and the `is...` questions, with Unicode's full mappings as Python uses them.
extension JinjaText {
  private func mapASCII(_ transform: (UInt8) -> UInt8) -> JinjaText? {
    guard bytes.allSatisfy({ $0 < 0x80 }) else { return nil }
    return JinjaText(bytes: bytes.map(transform), isMarkup: isMarkup)
  }

  private static func upperASCII(_ byte: UInt8) -> UInt8 { (0x61...0x7A).contains(byte) ? byte - 32 : byte }
  private static func lowerASCII(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte + 32 : byte }

  var uppercased: JinjaText {
    if let fast = mapASCII(Self.upperASCII) { return fast }
    var out: [UInt8] = []
    for scalar in scalars { out.append(text: scalar.properties.uppercaseMapping) }
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }

  var lowercased: JinjaText {
    if let fast = mapASCII(Self.lowerASCII) { return fast }
    return JinjaText(bytes: Self.lowered(scalars), isMarkup: isMarkup)
  }

  private static func lowered(_ scalars: [Unicode.Scalar]) -> [UInt8] {
    var out: [UInt8] = []
    for place in scalars.indices { out.append(text: lowered(scalars, at: place)) }
    return out
  }

  /// Capital sigma is written differently at the end of a word.
  private static func lowered(_ scalars: [Unicode.Scalar], at place: Int) -> String {
    guard scalars[place].value == 0x3A3 else { return scalars[place].properties.lowercaseMapping }
    let before = scalars[..<place].last { !$0.properties.isCaseIgnorable }
    let after = scalars[(place + 1)...].first { !$0.properties.isCaseIgnorable }
    let isFinal = before?.properties.isCased == true && after?.properties.isCased != true
    return isFinal ? "\u{3C2}" : "\u{3C3}"
  }

  var caseFolded: JinjaText {
    // Full folding is lower case but for the letters that only their upper case tells apart.
    if let fast = mapASCII(Self.lowerASCII) { return fast }
    var out: [UInt8] = []
    for scalar in scalars {
      switch scalar.value {
      case 0xDF, 0x1E9E: out.append(text: "ss")
      case 0x3C2: out.append(text: "\u{3C3}")
      default: out.append(text: scalar.properties.lowercaseMapping)
      }
    }
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }

  var capitalized: JinjaText {
    let scalars = scalars
    guard let first = scalars.first else { return self }
    var out = Array(first.properties.titlecaseMapping.utf8)
    for place in scalars.indices.dropFirst() { out.append(text: Self.lowered(scalars, at: place)) }
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }

  /// `str.title`: a letter after anything that has no case begins a word.
  var titled: JinjaText {
    let scalars = scalars
    var out: [UInt8] = []
    var isInside = false
    for place in scalars.indices {
      out.append(text: isInside ? Self.lowered(scalars, at: place) : scalars[place].properties.titlecaseMapping)
      isInside = scalars[place].properties.isCased
    }
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }

  /// The `title` filter: words also begin after white space, hyphens and opening brackets, and only there.
  var filterTitled: JinjaText {
    var out: [UInt8] = []
    var word: [Unicode.Scalar] = []
    func flush() {
      guard let first = word.first else { return }
      out.append(text: first.properties.uppercaseMapping)
      out += Self.lowered(Array(word.dropFirst()))
      word = []
    }
    for scalar in scalars {
      if scalar.isPythonSpace || "-({[<".unicodeScalars.contains(scalar) {
        flush()
        out.append(scalar: scalar)
      } else {
        word.append(scalar)
      }
    }
    flush()
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }

  var caseSwapped: JinjaText {
    let scalars = scalars
    var out: [UInt8] = []
    for place in scalars.indices {
      let properties = scalars[place].properties
      out.append(
        text: properties.isUppercase
          ? Self.lowered(scalars, at: place)
          : properties.isLowercase ? properties.uppercaseMapping : String(scalars[place]))
    }
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }

  var isUpper: Bool {
    var hasCase = false
    for scalar in scalars {
      if scalar.properties.isLowercase || scalar.properties.generalCategory == .titlecaseLetter { return false }
      if scalar.properties.isUppercase { hasCase = true }
    }
    return hasCase
  }

  var isLower: Bool {
    var hasCase = false
    for scalar in scalars {
      if scalar.properties.isUppercase || scalar.properties.generalCategory == .titlecaseLetter { return false }
      if scalar.properties.isLowercase { hasCase = true }
    }
    return hasCase
  }

  var isTitle: Bool {
    var hasCase = false
    var isInside = false
    for scalar in scalars {
      let properties = scalar.properties
      if properties.isUppercase || properties.generalCategory == .titlecaseLetter {
        if isInside { return false }
        isInside = true
        hasCase = true
      } else if properties.isLowercase {
        if !isInside { return false }
        hasCase = true
      } else {
        isInside = false
      }
    }
    return hasCase
  }

  var isIdentifier: Bool {
    let scalars = scalars
    guard let first = scalars.first, first.isIdentifierStart else { return false }
    return scalars.allSatisfy { $0.isIdentifierPart }
  }

  func allScalars(_ test: (Unicode.Scalar) -> Bool) -> Bool { !isEmpty && scalars.allSatisfy(test) }
}

extension Unicode.Scalar {
  var isIdentifierStart: Bool { value == 0x5F || properties.isXIDStart }
  var isIdentifierPart: Bool { properties.isXIDContinue }
  var isPythonAlpha: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }
  var isPythonDecimal: Bool { properties.generalCategory == .decimalNumber }
  var isPythonDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }
  var isPythonNumeric: Bool { properties.numericType != nil }
  var isPythonAlphanumeric: Bool { isPythonAlpha || isPythonNumeric }
}
