/// A byte trie over pieces: finds every piece that begins at a place in one walk.
///
/// Children live in one open-addressing table keyed by node and byte; the root's are a plain array.
struct PieceTrie: Sendable {
  /// The value at each node, or -1.
  private var values: [Int32] = [-1]
  private var roots = [Int32](repeating: -1, count: 256)
  /// node << 8 | byte, plus 1 (0: free) in the high half; the child in the low half.
  private var slots: [UInt64]
  private var used = 0

  init(expectingNodes count: Int = 64) {
    var capacity = 64
    while capacity < count * 2 { capacity *= 2 }
    slots = [UInt64](repeating: 0, count: capacity)
  }

  @inline(__always)
  private static func home(_ key: UInt64, _ mask: Int) -> Int {
    let product = key &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: product >> 29) & mask
  }

  /// Adds a piece (not empty); a later value replaces an earlier one.
  mutating func add(_ piece: Bytes, value: Int32) {
    var node: Int32 = 0
    for byte in piece {
      var child = child(of: node, byte)
      if child < 0 {
        child = Int32(values.count)
        values.append(-1)
        if node == 0 { roots[Int(byte)] = child } else { insert(Self.key(node, byte), child) }
      }
      node = child
    }
    if node != 0 { values[Int(node)] = value }
  }

  private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 { UInt64(node) << 8 | UInt64(byte) + 1 }

  private mutating func insert(_ key: UInt64, _ child: Int32) {
    used += 1
    if used * 2 > slots.count {
      let old = slots
      slots = [UInt64](repeating: 0, count: old.count * 2)
      for slot in old where slot != 0 { place(slot) }
    }
    place(key << 32 | UInt64(child))
  }

  private mutating func place(_ slot: UInt64) {
    let mask = slots.count - 1
    var place = Self.home(slot >> 32, mask)
    while slots[place] != 0 { place = (place + 1) & mask }
    slots[place] = slot
  }

  @inline(__always)
  func child(of node: Int32, _ byte: UInt8) -> Int32 {
    if node == 0 { return roots[Int(byte)] }
    let key = Self.key(node, byte)
    return slots.withUnsafeBufferPointer { slots in
      let mask = slots.count &- 1
      var place = Self.home(key, mask)
      while true {
        let slot = slots[place]
        if slot == 0 { return -1 }
        if slot >> 32 == key { return Int32(truncatingIfNeeded: slot & 0xFFFF_FFFF) }
        place = (place &+ 1) & mask
      }
    }
  }

  /// Calls `body` with the length and value of each piece that begins at `start`, shortest first.
  @inline(__always)
  func forEachPiece(in text: Bytes, from start: Int, _ body: (_ length: Int, _ value: Int32) -> Void) {
    var node: Int32 = 0
    var place = start
    while place < text.count {
      node = child(of: node, text[place])
      if node < 0 { return }
      place &+= 1
      let value = values[Int(node)]
      if value >= 0 { body(place &- start, value) }
    }
  }

  /// The longest piece that begins at `start`.
  func longest(in text: Bytes, from start: Int) -> (length: Int, value: Int32)? {
    var found: (Int, Int32)?
    forEachPiece(in: text, from: start) { found = ($0, $1) }
    return found
  }
}
