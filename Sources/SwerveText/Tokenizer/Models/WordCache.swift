/// Remembers the ids of short words, so that a word costs its algorithm once. Fixed size; a new word takes the place of
/// an old one when its neighbourhood is full.
///
/// Keys are whole words of at most 15 bytes kept in the entry, so an answer is exact.
struct WordCache: ~Copyable {
  struct Key {
    let low: UInt64
    /// The last seven bytes, and in the top byte the length plus one.
    let high: UInt64
  }

  /// 32 bytes: up to three ids are inline, more lie in `overflow` from `first` on.
  private struct Entry {
    var low: UInt64 = 0
    var high: UInt64 = 0
    var count: UInt32 = 0
    var first: Int32 = 0
    var second: Int32 = 0
    var third: Int32 = 0
  }

  static let maximumLength = 15
  private static let probes = 4
  private static let smallest = 1 << 10
  private static let largest = 1 << 16
  private static let maximumOverflow = 1 << 18

  private var entries: UnsafeMutablePointer<Entry>
  private var capacity: Int
  private var used = 0
  private var overflow: [Int32] = []

  init() {
    capacity = Self.smallest
    entries = .allocate(capacity: capacity)
    entries.initialize(repeating: Entry(), count: capacity)
  }

  deinit { entries.deallocate() }

  /// The key of the word at `start`, `length` bytes long (1...15), inside `text`.
  @inline(__always)
  static func key(_ text: Bytes, _ start: Int, _ length: Int) -> Key {
    // `text` has a base address: it holds the word.
    let raw = UnsafeRawPointer(text.baseAddress.unsafelyUnwrapped) + start
    var low: UInt64
    var high: UInt64
    if start + 16 <= text.count {
      low = raw.loadUnaligned(as: UInt64.self)
      high = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      if length < 8 {
        low &= (1 << UInt64(8 &* length)) &- 1
        high = 0
      } else {
        high &= (1 << UInt64(8 &* (length &- 8))) &- 1
      }
    } else {
      low = 0
      high = 0
      for offset in 0..<length {
        let byte = UInt64(text[start + offset])
        if offset < 8 { low |= byte << UInt64(8 * offset) } else { high |= byte << UInt64(8 * (offset - 8)) }
      }
    }
    return Key(low: low, high: high | UInt64(length + 1) << 56)
  }

  @inline(__always)
  private static func hash(_ key: Key) -> Int {
    let product = (key.low ^ 0x9E37_79B9_7F4A_7C15).multipliedFullWidth(by: key.high ^ 0xD6E8_FEB8_6659_FD93)
    return Int(truncatingIfNeeded: product.high ^ product.low)
  }

  /// Appends the ids of a word seen before; false where it is not known.
  @inline(__always)
  func append(_ key: Key, to out: inout [Int32]) -> Bool {
    let mask = capacity &- 1
    var place = Self.hash(key) & mask
    for _ in 0..<Self.probes {
      let entry = entries + place
      if entry.pointee.low == key.low, entry.pointee.high == key.high {
        let count = entry.pointee.count
        if count <= 3 {
          if count > 0 { out.append(entry.pointee.first) }
          if count > 1 { out.append(entry.pointee.second) }
          if count > 2 { out.append(entry.pointee.third) }
        } else {
          let first = Int(entry.pointee.first)
          out.append(contentsOf: overflow[first..<first + Int(count)])
        }
        return true
      }
      place = (place &+ 1) & mask
    }
    return false
  }

  /// Remembers the ids of a word that `append` did not find.
  mutating func insert(_ key: Key, _ ids: ArraySlice<Int32>) {
    if used * 2 > capacity, capacity < Self.largest { grow() }
    if ids.count > 3, overflow.count + ids.count > Self.maximumOverflow { clear() }
    var entry = Entry(low: key.low, high: key.high, count: UInt32(ids.count))
    if ids.count <= 3 {
      let base = ids.startIndex
      if ids.count > 0 { entry.first = ids[base] }
      if ids.count > 1 { entry.second = ids[base + 1] }
      if ids.count > 2 { entry.third = ids[base + 2] }
    } else {
      entry.first = Int32(overflow.count)
      overflow.append(contentsOf: ids)
    }
    place(entry)
  }

  private mutating func place(_ entry: Entry) {
    let mask = capacity - 1
    let home = Self.hash(Key(low: entry.low, high: entry.high)) & mask
    for probe in 0..<Self.probes where entries[(home + probe) & mask].high == 0 {
      entries[(home + probe) & mask] = entry
      used += 1
      return
    }
    entries[(home + used % Self.probes) & mask] = entry
    used += 1
  }

  private mutating func grow() {
    let old = entries
    let oldCapacity = capacity
    capacity *= 4
    used = 0
    entries = .allocate(capacity: capacity)
    entries.initialize(repeating: Entry(), count: capacity)
    for number in 0..<oldCapacity where old[number].high != 0 { place(old[number]) }
    old.deallocate()
  }

  private mutating func clear() {
    entries.update(repeating: Entry(), count: capacity)
    overflow.removeAll(keepingCapacity: true)
    used = 0
  }
}
