import CSwerveUnicode

/// What tokenizers ask about a character. One table look-up; the answers are those of the reference library, which
/// mixes Unicode versions (Tools/unicode/generate.py measures them).
struct CharacterProperties {
  let word: UInt32

  /// Flags beside the general category. Names say whose opinion it is where opinions differ.
  struct Flag {
    let bit: UInt32
    /// `\s` of split patterns.
    static let space = Flag(bit: 1 << 8)
    /// `\w` of split patterns.
    static let word = Flag(bit: 1 << 9)
    /// White space for Strip, WhitespaceSplit and Bert.
    static let whitespace = Flag(bit: 1 << 10)
    static let numeric = Flag(bit: 1 << 11)
    /// Punctuation for the Punctuation and Bert pre-tokenizers, ASCII symbols included.
    static let punctuation = Flag(bit: 1 << 12)
    /// Marks that Bert's accent stripping removes.
    static let nonspacing = Flag(bit: 1 << 13)
    /// Control, format, unassigned and private characters that Bert's cleaning removes.
    static let other = Flag(bit: 1 << 14)
    /// Marks that StripAccents removes.
    static let mark = Flag(bit: 1 << 15)
    /// Part of a word for an added token with `single_word`.
    static let tokenWord = Flag(bit: 1 << 16)
    /// Part of a word for the Whitespace pre-tokenizer.
    static let whitespaceWord = Flag(bit: 1 << 17)
    static let lowers = Flag(bit: 1 << 18)
    static let decomposes = Flag(bit: 1 << 19)
    /// May change under NFC together with its neighbours.
    static let unstable = Flag(bit: 1 << 20)
    static let cjk = Flag(bit: 1 << 21)
    /// `[[:punct:]]` of split patterns: punctuation and symbols.
    static let symbol = Flag(bit: 1 << 22)
    /// `[[:alpha:]]`, `[[:upper:]]` and `[[:lower:]]` of split patterns.
    static let alphabetic = Flag(bit: 1 << 5)
    static let upper = Flag(bit: 1 << 6)
    static let lower = Flag(bit: 1 << 7)
  }

  @inline(__always)
  init(_ scalar: UInt32) {
    let index = swerve_unicode_get_index()
    let words = swerve_unicode_get_words()
    let place = Int(min(scalar, 0x10FFFF))
    word = words[Int(index[place >> 7]) << 7 | place & 127]
  }

  @inline(__always)
  func has(_ flag: Flag) -> Bool { word & flag.bit != 0 }

  @inline(__always)
  var combiningClass: UInt8 { UInt8(word >> 24) }

  @inline(__always)
  var category: GeneralCategory { GeneralCategory(rawValue: UInt8(word & 31)) }
}

/// A general category by its number in the table.
struct GeneralCategory: Equatable {
  let rawValue: UInt8

  static let names = [
    "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
    "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co",
  ]

  @inline(__always)
  var mask: UInt32 { 1 << UInt32(rawValue) }

  /// The categories that `name` stands for as a bit mask: `L` is every category that begins with L, `LC` the cased ones.
  static func mask(named name: String) -> UInt32? {
    let wanted = name.lowercased()
    if wanted == "any" { return 0x3FFF_FFFF }
    if wanted == "assigned" { return 0x3FFF_FFFE }
    if wanted == "lc" || wanted == "l&" { return 0b1110 }
    let short = longNames[wanted.filter { $0 != "_" && $0 != " " && $0 != "-" }] ?? wanted
    guard short.utf8.count <= 2 else { return nil }
    var mask: UInt32 = 0
    for (number, candidate) in names.enumerated() where candidate.lowercased().hasPrefix(short) {
      mask |= 1 << UInt32(number)
    }
    return short.isEmpty || mask == 0 ? nil : mask
  }

  private static let longNames = [
    "letter": "l", "uppercaseletter": "lu", "lowercaseletter": "ll", "titlecaseletter": "lt", "modifierletter": "lm",
    "otherletter": "lo", "mark": "m", "nonspacingmark": "mn", "spacingmark": "mc", "enclosingmark": "me",
    "number": "n", "decimalnumber": "nd", "letternumber": "nl", "othernumber": "no", "punctuation": "p",
    "symbol": "s", "mathsymbol": "sm", "currencysymbol": "sc", "modifiersymbol": "sk", "othersymbol": "so",
    "separator": "z", "spaceseparator": "zs", "other": "c", "control": "cc", "format": "cf", "unassigned": "cn",
    "surrogate": "cs", "privateuse": "co", "dashpunctuation": "pd", "openpunctuation": "ps", "closepunctuation": "pe",
    "initialpunctuation": "pi", "finalpunctuation": "pf", "otherpunctuation": "po", "connectorpunctuation": "pc",
  ]
}

/// Scripts of characters.
enum Scripts {
  /// The class of a scalar for the UnicodeScripts pre-tokenizer; 0 joins any neighbour. Cost: a binary search.
  static func splitClass(of scalar: UInt32) -> UInt8 {
    let starts = swerve_unicode_get_script_starts()
    var low = 0
    var high = Int(swerve_unicode_script_count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= scalar { low = middle } else { high = middle }
    }
    return swerve_unicode_get_script_classes()[low]
  }

  /// The ranges of a script that a pattern names (`\p{Han}`), or nil for a name not in the table.
  static func ranges(named name: String) -> [ClosedRange<UInt32>]? {
    let wanted = name.lowercased()
    guard let number = names.firstIndex(where: { $0.lowercased() == wanted }) else { return nil }
    let runs = swerve_unicode_get_named_runs()
    var ranges: [ClosedRange<UInt32>] = []
    for row in 0..<Int(swerve_unicode_named_count) where runs[3 * row] == number {
      ranges.append(runs[3 * row + 1]...runs[3 * row + 2])
    }
    return ranges
  }

  private static let names = [
    "Arabic", "Armenian", "Bengali", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Gujarati", "Gurmukhi",
    "Han", "Hangul", "Hebrew", "Hiragana", "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam", "Mongolian",
    "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan", "Common", "Inherited", "Bopomofo",
    "Cherokee", "Syriac", "Tagalog", "Yi", "Braille", "Coptic", "Javanese", "Balinese",
  ]
}
