import CSwerveUnicode

/// Unicode normal forms and case (Unicode Standard Annex 15) over UTF-8.
enum NormalForm: String, Sendable {
  case nfc = "NFC"
  case nfd = "NFD"
  case nfkc = "NFKC"
  case nfkd = "NFKD"

  private var isCompatible: Bool { self == .nfkc || self == .nfkd }
  private var composes: Bool { self == .nfc || self == .nfkc }

  /// The text in this form, or nil where it already is. ASCII costs one scan; NFC text almost as little.
  func normalize(_ text: Bytes) -> [UInt8]? {
    guard let firstChange = firstUnstable(in: text) else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 4)
    out.append(contentsOf: text[..<firstChange])
    var segment: [UInt32] = []
    var place = firstChange
    while place < text.count {
      // A segment runs from one starter that cannot compose backwards to the next; text between them is copied.
      let start = place
      segment.removeAll(keepingCapacity: true)
      var isStable = true
      repeat {
        let scalar = text.scalar(at: place)
        if isUnstable(scalar.value) { isStable = false }
        segment.append(scalar.value)
        place += scalar.length
      } while place < text.count && !isBoundary(text.scalar(at: place).value)
      if isStable {
        out.append(contentsOf: text[start..<place])
      } else {
        var decomposed = decompose(segment)
        Self.order(&decomposed)
        if composes { Self.compose(&decomposed) }
        for scalar in decomposed { out.append(scalar: scalar) }
      }
    }
    return out
  }

  /// Where the segment with the first character that may change begins.
  private func firstUnstable(in text: Bytes) -> Int? {
    var place = 0
    var boundary = 0
    while place < text.count {
      if text[place] < 0x80 {
        boundary = place
        place += 1
        continue
      }
      let scalar = text.scalar(at: place)
      if isBoundary(scalar.value) { boundary = place }
      if isUnstable(scalar.value) { return boundary }
      place += scalar.length
    }
    return nil
  }

  @inline(__always)
  private func isUnstable(_ scalar: UInt32) -> Bool {
    if scalar < 0x80 { return false }
    let properties = CharacterProperties(scalar)
    if composes {
      return properties.has(.unstable) || (isCompatible && properties.has(.decomposes))
    }
    return properties.has(.decomposes) || properties.combiningClass != 0 || Self.isHangulSyllable(scalar)
  }

  /// Whether nothing before this character can combine or reorder with it.
  @inline(__always)
  private func isBoundary(_ scalar: UInt32) -> Bool {
    if scalar < 0x80 { return true }
    let properties = CharacterProperties(scalar)
    return !properties.has(.unstable) && properties.combiningClass == 0 && !properties.has(.decomposes)
  }

  private static func isHangulSyllable(_ scalar: UInt32) -> Bool { scalar >= 0xAC00 && scalar < 0xD7A4 }

  private func decompose(_ scalars: [UInt32]) -> [UInt32] {
    var out: [UInt32] = []
    for scalar in scalars {
      if Self.isHangulSyllable(scalar) {
        let index = scalar - 0xAC00
        out.append(0x1100 + index / 588)
        out.append(0x1161 + index % 588 / 28)
        if index % 28 != 0 { out.append(0x11A7 + index % 28) }
      } else if scalar < 0x80 || !CharacterProperties(scalar).has(.decomposes) {
        out.append(scalar)
      } else if isCompatible, Self.append(scalar, from: swerve_unicode_get_compatible(), to: &out) {
        continue
      } else if !Self.append(scalar, from: swerve_unicode_get_canonical(), to: &out) {
        out.append(scalar)
      }
    }
    return out
  }

  /// Appends the mapping of `scalar` (already full: nothing in it decomposes further); false where there is none.
  static func append(_ scalar: UInt32, from table: swerve_unicode_mapping, to out: inout [UInt32]) -> Bool {
    var low = 0
    var high = Int(table.count)
    while low < high {
      let middle = (low + high) / 2
      if table.keys[middle] < scalar { low = middle + 1 } else { high = middle }
    }
    guard low < table.count, table.keys[low] == scalar else { return false }
    let value = table.values[low]
    for place in 0..<Int(value & 255) { out.append(table.pool[Int(value >> 8) + place]) }
    return true
  }

  /// Canonical ordering: marks sorted by class between starters, equal classes in their order. A stable sort, since a
  /// run of marks may be as long as a hostile text.
  private static func order(_ scalars: inout [UInt32]) {
    var place = 0
    while place < scalars.count {
      guard CharacterProperties(scalars[place]).combiningClass != 0 else {
        place += 1
        continue
      }
      var end = place
      var isSorted = true
      var last: UInt8 = 0
      while end < scalars.count {
        let rank = CharacterProperties(scalars[end]).combiningClass
        if rank == 0 { break }
        if rank < last { isSorted = false }
        last = rank
        end += 1
      }
      if !isSorted {
        let keys = (place..<end).map { UInt64(CharacterProperties(scalars[$0]).combiningClass) << 32 | UInt64($0) }
        let sorted = keys.sorted().map { scalars[Int($0 & 0xFFFF_FFFF)] }
        scalars.replaceSubrange(place..<end, with: sorted)
      }
      place = end
    }
  }

  private static func compose(_ scalars: inout [UInt32]) {
    guard let first = scalars.firstIndex(where: { CharacterProperties($0).combiningClass == 0 }) else { return }
    var starter = first
    var write = first + 1
    var lastClass: UInt8 = 0
    for read in (first + 1)..<max(first + 1, scalars.count) {
      let scalar = scalars[read]
      let rank = CharacterProperties(scalar).combiningClass
      // Blocked unless adjacent to the starter or of a higher class than the last mark kept.
      let isAdjacent = write == starter + 1
      if isAdjacent || (lastClass != 0 && lastClass < rank), let composed = pair(scalars[starter], scalar) {
        scalars[starter] = composed
        continue
      }
      if rank == 0 { starter = write }
      lastClass = rank
      scalars[write] = scalar
      write += 1
    }
    scalars.removeSubrange(write...)
  }

  private static func pair(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if first >= 0x1100, first < 0x1113, second >= 0x1161, second < 0x1176 {
      return 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
    }
    if isHangulSyllable(first), (first - 0xAC00) % 28 == 0, second > 0x11A7, second < 0x11C3 {
      return first + second - 0x11A7
    }
    let key = UInt64(first) << 32 | UInt64(second)
    let keys = swerve_unicode_get_compose_keys()
    var low = 0
    var high = Int(swerve_unicode_compose_count)
    while low < high {
      let middle = (low + high) / 2
      if keys[middle] < key { low = middle + 1 } else { high = middle }
    }
    guard low < swerve_unicode_compose_count, keys[low] == key else { return nil }
    return swerve_unicode_get_compose_values()[low]
  }
}

/// Case of single characters, without context (a final sigma lowers like any other).
enum LetterCase {
  static func lowercase(_ text: Bytes) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var mapped: [UInt32] = []
    var place = 0
    while place < text.count {
      let byte = text[place]
      if byte < 0x80 {
        out.append(byte &- 0x41 < 26 ? byte | 0x20 : byte)
        place += 1
        continue
      }
      let scalar = text.scalar(at: place)
      mapped.removeAll(keepingCapacity: true)
      if CharacterProperties(scalar.value).has(.lowers),
        NormalForm.append(scalar.value, from: swerve_unicode_get_lowercase(), to: &mapped)
      {
        for value in mapped { out.append(scalar: value) }
      } else {
        out.append(contentsOf: text[place..<place + scalar.length])
      }
      place += scalar.length
    }
    return out
  }

  /// The simple case folding of a scalar.
  static func fold(_ scalar: UInt32) -> UInt32 {
    if scalar < 0x80 { return scalar &- 0x41 < 26 ? scalar | 0x20 : scalar }
    var mapped: [UInt32] = []
    return NormalForm.append(scalar, from: swerve_unicode_get_fold(), to: &mapped) ? mapped[0] : scalar
  }

  /// Every scalar with the same folding as `scalar`, itself included. Cost: a scan of the table; for compiling patterns.
  static func variants(of scalar: UInt32) -> [UInt32] {
    let folded = fold(scalar)
    var out = [folded]
    if folded &- 0x61 < 26 { out.append(folded &- 0x20) }
    let table = swerve_unicode_get_fold()
    for row in 0..<Int(table.count) where table.pool[Int(table.values[row] >> 8)] == folded {
      if !out.contains(table.keys[row]) { out.append(table.keys[row]) }
    }
    return out
  }
}
