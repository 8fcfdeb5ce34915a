/// A string as templates see it: UTF-8 bytes, measured and indexed in Unicode scalars, compared byte by byte.
///
/// Not `String`: there, `==` is canonical equivalence, `count` is grapheme clusters and `\r\n` is one character;
/// Python's strings, whose behaviour templates rely on, know none of these. The bytes are always valid UTF-8.
struct JinjaText: Sendable, Hashable {
  var bytes: [UInt8]
  /// Marked with the `safe` or `escape` filter: adding ordinary text to it escapes that text, as Markup does.
  var isMarkup = false

  init(_ string: String) { bytes = Array(string.utf8) }
  init(bytes: [UInt8], isMarkup: Bool = false) {
    self.bytes = bytes
    self.isMarkup = isMarkup
  }
  init(_ slice: ArraySlice<UInt8>) { bytes = Array(slice) }
  init(_ scalars: some Sequence<Unicode.Scalar>) {
    bytes = []
    for scalar in scalars { bytes.append(scalar: scalar) }
  }

  static func == (a: Self, b: Self) -> Bool { a.bytes == b.bytes }
  func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }

  var string: String { String(decoding: bytes, as: UTF8.self) }
  var isEmpty: Bool { bytes.isEmpty }

  /// Number of scalars. O(bytes).
  var count: Int {
    var count = 0
    for byte in bytes where byte & 0xC0 != 0x80 { count += 1 }
    return count
  }

  var scalars: [Unicode.Scalar] { Array(String(decoding: bytes, as: UTF8.self).unicodeScalars) }

  /// Byte offset of the scalar at `index` (which may be the count). O(bytes).
  func offset(of index: Int) -> Int {
    var left = index
    var place = 0
    while place < bytes.count {
      if left == 0 { return place }
      left -= 1
      place += Self.width(of: bytes[place])
    }
    return bytes.count
  }

  /// Scalars before the byte at `offset`.
  func index(ofByte offset: Int) -> Int {
    var count = 0
    for place in 0..<offset where bytes[place] & 0xC0 != 0x80 { count += 1 }
    return count
  }

  static func width(of lead: UInt8) -> Int { lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4 }

  /// The scalar at a byte offset that begins one.
  func scalar(at offset: Int) -> Unicode.Scalar {
    let lead = UInt32(bytes[offset])
    switch Self.width(of: bytes[offset]) {
    case 1: return Unicode.Scalar(UInt8(lead))
    case 2: return Self.scalar((lead & 0x1F) << 6 | tail(offset + 1))
    case 3: return Self.scalar((lead & 0x0F) << 12 | tail(offset + 1) << 6 | tail(offset + 2))
    default:
      return Self.scalar((lead & 7) << 18 | tail(offset + 1) << 12 | tail(offset + 2) << 6 | tail(offset + 3))
    }
  }

  /// The scalar that ends before `offset`, which must be above 0.
  func scalar(before offset: Int) -> (scalar: Unicode.Scalar, start: Int) {
    var start = offset - 1
    while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return (scalar(at: start), start)
  }

  private func tail(_ offset: Int) -> UInt32 { offset < bytes.count ? UInt32(bytes[offset]) & 0x3F : 0 }
  private static func scalar(_ value: UInt32) -> Unicode.Scalar { Unicode.Scalar(value) ?? "\u{FFFD}" }

  /// The same text with the other's markup flag: what a string method gives back on marked-up text.
  func marked(like other: JinjaText) -> JinjaText { JinjaText(bytes: bytes, isMarkup: other.isMarkup) }
}

extension JinjaText: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self.init(value) }
}

extension [UInt8] {
  mutating func append(scalar: Unicode.Scalar) {
    if scalar.value < 0x80 {
      append(UInt8(scalar.value))
    } else {
      append(contentsOf: String(Character(scalar)).utf8)
    }
  }
  mutating func append(text: String) { append(contentsOf: text.utf8) }
}

// MARK: Searching

extension JinjaText {
  /// Byte offset of the first occurrence of `needle` that lies within `range`, or nil. Linear also for hostile input.
  func find(_ needle: JinjaText, in range: Range<Int>) -> Int? {
    let size = needle.bytes.count
    if size == 0 { return range.lowerBound }
    if size > range.count { return nil }
    return bytes.withUnsafeBufferPointer { hay in
      needle.bytes.withUnsafeBufferPointer { pattern in
        size <= 16 ? Self.scan(hay, pattern, range) : Self.matchLong(hay, pattern, range)
      }
    }
  }

  private static func scan(
    _ hay: UnsafeBufferPointer<UInt8>, _ pattern: UnsafeBufferPointer<UInt8>, _ range: Range<Int>
  ) -> Int? {
    let first = pattern[0]
    var place = range.lowerBound
    let last = range.upperBound - pattern.count
    while place <= last {
      if hay[place] == first {
        var matched = 1
        while matched < pattern.count, hay[place + matched] == pattern[matched] { matched += 1 }
        if matched == pattern.count { return place }
      }
      place += 1
    }
    return nil
  }

  /// Knuth, Morris and Pratt: a long needle must not make the search quadratic.
  private static func matchLong(
    _ hay: UnsafeBufferPointer<UInt8>, _ pattern: UnsafeBufferPointer<UInt8>, _ range: Range<Int>
  ) -> Int? {
    var border = [Int](repeating: 0, count: pattern.count)
    var length = 0
    for place in 1..<pattern.count {
      while length > 0, pattern[place] != pattern[length] { length = border[length - 1] }
      if pattern[place] == pattern[length] { length += 1 }
      border[place] = length
    }
    var matched = 0
    for place in range {
      while matched > 0, hay[place] != pattern[matched] { matched = border[matched - 1] }
      if hay[place] == pattern[matched] { matched += 1 }
      if matched == pattern.count { return place + 1 - matched }
    }
    return nil
  }

  /// Byte offset of the last occurrence within `range`.
  func findLast(_ needle: JinjaText, in range: Range<Int>) -> Int? {
    if needle.isEmpty { return range.upperBound }
    let reversedHay = JinjaText(bytes: bytes[range].reversed())
    let reversedNeedle = JinjaText(bytes: needle.bytes.reversed())
    guard let found = reversedHay.find(reversedNeedle, in: 0..<range.count) else { return nil }
    return range.upperBound - found - needle.bytes.count
  }

  func contains(_ needle: JinjaText) -> Bool { find(needle, in: 0..<bytes.count) != nil }
  func hasPrefix(_ prefix: JinjaText) -> Bool { bytes.starts(with: prefix.bytes) }
  func hasSuffix(_ suffix: JinjaText) -> Bool {
    bytes.count >= suffix.bytes.count && bytes[(bytes.count - suffix.bytes.count)...].elementsEqual(suffix.bytes)
  }

  /// Replaces occurrences from the left, at most `limit` of them where it is not negative.
  func replacing(_ old: JinjaText, with new: JinjaText, limit: Int = -1) throws(TemplateError) -> JinjaText {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var left = limit < 0 ? Int.max : limit
    var place = 0
    if old.isEmpty {
      while left > 0, place <= bytes.count {
        out += new.bytes
        left -= 1
        if place == bytes.count { break }
        let width = Self.width(of: bytes[place])
        out += bytes[place..<min(place + width, bytes.count)]
        place += width
        try JinjaLimits.check(textBytes: out.count)
      }
    } else {
      while left > 0, let found = find(old, in: place..<bytes.count) {
        out += bytes[place..<found]
        out += new.bytes
        place = found + old.bytes.count
        left -= 1
        try JinjaLimits.check(textBytes: out.count)
      }
    }
    if place < bytes.count { out += bytes[place...] }
    try JinjaLimits.check(textBytes: out.count)
    return JinjaText(bytes: out, isMarkup: isMarkup)
  }
}

// MARK: White space

extension Unicode.Scalar {
  /// What Python's `str.isspace` and `\s` accept.
  var isPythonSpace: Bool {
    switch value {
    case 0x20, 0x09...0x0D, 0x1C...0x1F: true
    case 0..<0x80: false
    case 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// What Python's `str.splitlines` breaks at.
  var isPythonLineBreak: Bool {
    switch value {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }
}

extension JinjaText {
  /// Byte range left when scalars that satisfy `strips` are taken from the chosen ends.
  func trimmedRange(left: Bool, right: Bool, where strips: (Unicode.Scalar) -> Bool) -> Range<Int> {
    var start = 0
    var end = bytes.count
    if left {
      while start < end, strips(scalar(at: start)) { start += Self.width(of: bytes[start]) }
      start = min(start, end)
    }
    if right {
      while end > start {
        let last = scalar(before: end)
        if !strips(last.scalar) { break }
        end = max(last.start, start)
      }
    }
    return start..<end
  }

  /// Python's `strip`, `lstrip` and `rstrip`: white space, or any of the scalars in `characters`.
  func trimmed(left: Bool = true, right: Bool = true, characters: JinjaText? = nil) -> JinjaText {
    let range: Range<Int>
    if let characters {
      let set = Set(characters.scalars)
      range = trimmedRange(left: left, right: right) { set.contains($0) }
    } else {
      range = trimmedRange(left: left, right: right) { $0.isPythonSpace }
    }
    return range.count == bytes.count ? self : JinjaText(bytes: Array(bytes[range]), isMarkup: isMarkup)
  }
}
