// Models: from a word to token ids, one file an algorithm.
// This room must not know files or special tokens. Start with TokenModel.

/// Pieces and their ids: one block of bytes, and an open-addressing hash table over it.
///
/// Ids may have gaps. Where a piece is listed twice the later id answers, both keep their bytes. Cost: a look-up touches
/// one slot and the piece's bytes.
struct Vocabulary: Sendable {
  private var blob: [UInt8] = []
  /// Byte range of each id: start in the high half, length + 1 in the low half (0: no such id).
  private var spans: [UInt64] = []
  /// Hash table: high half of the hash and the id + 1; 0 is free.
  private var slots: [UInt64] = []
  private(set) var count = 0
  /// Bytes of the longest piece.
  private(set) var longestBytes = 0

  /// Ids must be below this; it bounds what a hostile file can make us allocate.
  static let maximumID = 1 << 22

  /// Room for `count` pieces of `bytes` bytes altogether.
  init(expecting count: Int, bytes: Int = 0) {
    var capacity = 16
    while capacity < count * 2 { capacity *= 2 }
    slots = [UInt64](repeating: 0, count: capacity)
    spans.reserveCapacity(count)
    blob.reserveCapacity(bytes)
  }

  /// One more than the highest id.
  var idLimit: Int { spans.count }

  /// Adds a piece. `isFindable` false: it has an id and bytes, but no look-up finds it.
  mutating func add(_ piece: Bytes, id: Int, isFindable: Bool = true) {
    precondition(id >= 0 && id < Self.maximumID)
    while spans.count <= id { spans.append(0) }
    if spans[id] == 0 { count += 1 }
    spans[id] = UInt64(blob.count) << 32 | UInt64(piece.count + 1)
    blob.append(contentsOf: piece)
    longestBytes = max(longestBytes, piece.count)
    guard isFindable else { return }
    if count * 2 > slots.count { grow() }
    insert(id, Self.hash(piece))
  }

  mutating func add(_ piece: [UInt8], id: Int, isFindable: Bool = true) {
    piece.withUnsafeBufferPointer { add($0, id: id, isFindable: isFindable) }
  }

  private mutating func insert(_ id: Int, _ hash: UInt64) {
    let mask = slots.count - 1
    let tag = hash & 0xFFFF_FFFF_0000_0000
    var place = Int(truncatingIfNeeded: hash) & mask
    while slots[place] != 0 {
      if slots[place] & 0xFFFF_FFFF_0000_0000 == tag {
        let other = Int(slots[place] & 0xFFFF_FFFF) - 1
        if bytes(of: other) == bytes(of: id) { break }
      }
      place = (place + 1) & mask
    }
    slots[place] = tag | UInt64(id + 1)
  }

  private mutating func grow() {
    let old = slots
    slots = [UInt64](repeating: 0, count: old.count * 2)
    for slot in old where slot != 0 {
      let id = Int(slot & 0xFFFF_FFFF) - 1
      insert(id, withBytes(of: id) { Self.hash($0) })
    }
  }

  /// Word-wise multiply and fold; the low half picks the slot, the high half is compared before the bytes are.
  @inline(__always)
  static func hash(_ bytes: Bytes) -> UInt64 {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15 ^ UInt64(truncatingIfNeeded: bytes.count)
    guard let base = bytes.baseAddress else { return state | 1 << 63 }
    let raw = UnsafeRawPointer(base)
    var place = 0
    while place + 8 <= bytes.count {
      state = fold(state ^ raw.loadUnaligned(fromByteOffset: place, as: UInt64.self))
      place += 8
    }
    var rest: UInt64 = 0
    while place < bytes.count {
      rest = rest << 8 | UInt64(bytes[place])
      place += 1
    }
    return fold(state ^ rest)
  }

  @inline(__always)
  private static func fold(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return product.high ^ product.low
  }

  /// The id of a piece, or -1.
  @inline(__always)
  func id(of piece: Bytes) -> Int32 {
    let hash = Self.hash(piece)
    return slots.withUnsafeBufferPointer { slots in
      let mask = slots.count - 1
      let tag = hash & 0xFFFF_FFFF_0000_0000
      var place = Int(truncatingIfNeeded: hash) & mask
      while true {
        let slot = slots[place]
        if slot == 0 { return -1 }
        if slot & 0xFFFF_FFFF_0000_0000 == tag, matches(Int(slot & 0xFFFF_FFFF) - 1, piece) {
          return Int32(truncatingIfNeeded: slot & 0xFFFF_FFFF) - 1
        }
        place = (place + 1) & mask
      }
    }
  }

  func id(of piece: [UInt8]) -> Int32 { piece.withUnsafeBufferPointer { id(of: $0) } }

  @inline(__always)
  private func matches(_ id: Int, _ piece: Bytes) -> Bool {
    let span = spans[id]
    guard Int(span & 0xFFFF_FFFF) == piece.count + 1 else { return false }
    let start = Int(span >> 32)
    return blob.withUnsafeBufferPointer { blob in
      for offset in 0..<piece.count where blob[start + offset] != piece[offset] { return false }
      return true
    }
  }

  func contains(id: Int) -> Bool { id >= 0 && id < spans.count && spans[id] != 0 }

  /// The bytes of an id; empty where there is no such id.
  func bytes(of id: Int) -> ArraySlice<UInt8> {
    guard contains(id: id) else { return [] }
    let start = Int(spans[id] >> 32)
    return blob[start..<start + Int(spans[id] & 0xFFFF_FFFF) - 1]
  }

  func withBytes<Result>(of id: Int, _ body: (Bytes) -> Result) -> Result {
    let slice = bytes(of: id)
    return slice.withUnsafeBufferPointer(body)
  }
}
