/// BPE merges: a pair of token ids to the merge's rank and its result. Flat open addressing, 16 bytes a slot.
struct MergeTable: Sendable {
  struct Merge {
    let rank: Int32
    let result: Int32
  }

  private struct Slot {
    /// left << 32 | right, or all ones where free.
    var key: UInt64 = .max
    var rank: Int32 = .max
    var result: Int32 = -1
  }

  private var slots: [Slot]
  private(set) var count = 0

  init(expecting count: Int) {
    var capacity = 16
    while capacity * 3 < count * 5 { capacity *= 2 }
    slots = [Slot](repeating: Slot(), count: capacity)
  }

  @inline(__always)
  private static func home(_ key: UInt64, _ mask: Int) -> Int {
    let product = (key ^ 0x9E37_79B9_7F4A_7C15) &* 0xD6E8_FEB8_6659_FD93
    return Int(truncatingIfNeeded: product ^ product >> 32) & mask
  }

  /// Adds a merge; a pair that is listed again takes its new rank.
  mutating func add(_ left: Int32, _ right: Int32, rank: Int32, result: Int32) {
    if (count + 1) * 4 > slots.count * 3 { grow() }
    if insert(Slot(key: Self.key(left, right), rank: rank, result: result)) { count += 1 }
  }

  private mutating func insert(_ slot: Slot) -> Bool {
    let mask = slots.count - 1
    var place = Self.home(slot.key, mask)
    while slots[place].key != .max, slots[place].key != slot.key { place = (place + 1) & mask }
    let isNew = slots[place].key == .max
    slots[place] = slot
    return isNew
  }

  private mutating func grow() {
    let old = slots
    slots = [Slot](repeating: Slot(), count: old.count * 2)
    for slot in old where slot.key != .max { _ = insert(slot) }
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// The merge of a pair; rank `Int32.max` where there is none.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> Merge {
    let key = Self.key(left, right)
    return slots.withUnsafeBufferPointer { slots in
      let mask = slots.count &- 1
      var place = Self.home(key, mask)
      while true {
        let slot = slots[place]
        if slot.key == key { return Merge(rank: slot.rank, result: slot.result) }
        if slot.key == .max { return Merge(rank: .max, result: -1) }
        place = (place &+ 1) & mask
      }
    }
  }
}
