/// Blocks by a hash of their content, which whoever asks compares: open addressing with linear probing, at most three
/// quarters full. An entry is a block's number and, in the bits above, as many of its hash as there is room for, so that few
/// other blocks are looked at. Storage is allocated once: 16/3 bytes a block.
struct BlockIndex {
  private var entries: [UInt32]
  private let blockBits: UInt32
  private(set) var count = 0

  private static let empty = UInt32.max

  /// - Precondition: fewer than 2³¹ blocks.
  init(blockCount: Int) {
    precondition(blockCount < 1 << 31, "\(blockCount) blocks cannot be numbered with 31 bits")
    // The highest number is no block's: `empty` has it.
    blockBits = UInt32(Int.bitWidth - blockCount.leadingZeroBitCount)
    entries = [UInt32](repeating: Self.empty, count: blockCount + (blockCount + 2) / 3 + 2)
  }

  var byteCount: Int { 4 * entries.count }

  private func home(_ hash: UInt64) -> Int { Int((hash >> 32 * UInt64(entries.count)) >> 32) }
  private func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash) << blockBits }
  private var blockMask: UInt32 { 1 << blockBits - 1 }
  private func after(_ place: Int) -> Int { place + 1 == entries.count ? 0 : place + 1 }

  /// A look-up under way.
  struct Probe {
    fileprivate let tag: UInt32
    fileprivate var place: Int
  }

  func probe(_ hash: UInt64) -> Probe { Probe(tag: tag(hash), place: home(hash)) }

  /// The next block that may have the hash; nil when there is none.
  func next(_ probe: inout Probe) -> Int? {
    while entries[probe.place] != Self.empty {
      let entry = entries[probe.place]
      probe.place = after(probe.place)
      if entry & ~blockMask == probe.tag { return Int(entry & blockMask) }
    }
    return nil
  }

  mutating func insert(_ block: Int, _ hash: UInt64) {
    var place = home(hash)
    while entries[place] != Self.empty { place = after(place) }
    entries[place] = UInt32(block) | tag(hash)
    count += 1
  }

  /// Takes a block out that is there.
  ///
  /// - Parameter hashOf: of any block in the index.
  mutating func remove(_ block: Int, _ hash: UInt64, hashOf: (_ block: Int) -> UInt64) {
    let entry = UInt32(block) | tag(hash)
    var hole = home(hash)
    while entries[hole] != entry { hole = after(hole) }
    // Close the gap: whoever stands behind it and could stand in it moves up, so that probing needs no tombstones.
    var place = hole
    while true {
      place = after(place)
      if entries[place] == Self.empty { break }
      let home = home(hashOf(Int(entries[place] & blockMask)))
      if distance(home, place) >= distance(hole, place) {
        entries[hole] = entries[place]
        hole = place
      }
    }
    entries[hole] = Self.empty
    count -= 1
  }

  /// Steps from one place on to another.
  private func distance(_ from: Int, _ to: Int) -> Int { to >= from ? to - from : to - from + entries.count }

  /// Entries that are there, counted. O(entries)
  var counted: Int { entries.count { $0 != Self.empty } }
}
