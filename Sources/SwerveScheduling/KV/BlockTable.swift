package import SwerveCore

/// The block tables of all slots: for each running sequence the blocks that hold its tokens, in order.
///
/// Flat and allocated once: slots × most blocks per sequence × 4 bytes (128 slots of 32,768 tokens in blocks of 16:
/// 1 MiB). A table only grows while its sequence runs and is emptied when the slot is given back.
package struct BlockTables: ~Copyable {
  /// Most blocks of one table.
  package let stride: Int
  /// [slots, stride]
  private var entries: [BlockID]
  /// [slots]
  private var counts: [Int32]

  package init(slots: Int, stride: Int) {
    self.stride = stride
    entries = [BlockID](repeating: BlockID(rawValue: -1), count: slots * stride)
    counts = [Int32](repeating: 0, count: slots)
  }

  package func count(_ slot: SlotID) -> Int { Int(counts[Int(slot.rawValue)]) }

  /// The block that holds tokens `index * blockSize ..< (index + 1) * blockSize`.
  package subscript(slot: SlotID, index: Int) -> BlockID {
    get { entries[Int(slot.rawValue) * stride + index] }
    set { entries[Int(slot.rawValue) * stride + index] = newValue }
  }

  package mutating func append(_ block: BlockID, to slot: SlotID) {
    let count = Int(counts[Int(slot.rawValue)])
    precondition(count < stride, "a block table cannot hold more than \(stride) blocks")
    entries[Int(slot.rawValue) * stride + count] = block
    counts[Int(slot.rawValue)] += 1
  }

  /// Takes the last block out; nil when the table is empty.
  package mutating func removeLast(_ slot: SlotID) -> BlockID? {
    let count = Int(counts[Int(slot.rawValue)])
    if count == 0 { return nil }
    counts[Int(slot.rawValue)] -= 1
    return entries[Int(slot.rawValue) * stride + count - 1]
  }

  /// Appends the first `count` blocks of a table to `list`.
  func copyPrefix(_ count: Int, of slot: SlotID, to list: inout [BlockID]) {
    let first = Int(slot.rawValue) * stride
    list.append(contentsOf: entries[first..<first + count])
  }
}
