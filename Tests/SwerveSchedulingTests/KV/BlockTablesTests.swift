import SwerveCore
import SwerveScheduling
import Testing

@Suite struct BlockTablesTests {
  @Test func `tables of different slots do not touch each other`() {
    var tables = BlockTables(slots: 3, stride: 2)
    for (slot, block) in [(0, 10), (2, 30), (0, 11), (1, 20), (2, 31)] {
      tables.append(BlockID(block), to: SlotID(slot))
    }
    let counts = (0..<3).map { tables.count(SlotID($0)) }
    let first = (0..<2).map { tables[SlotID(0), $0].rawValue }
    let third = (0..<2).map { tables[SlotID(2), $0].rawValue }
    #expect(counts == [2, 1, 2])
    #expect(first == [10, 11])
    #expect(third == [30, 31])
  }

  @Test func `blocks come back last first until the table is empty`() {
    var tables = BlockTables(slots: 1, stride: 4)
    for block in [5, 6, 7] { tables.append(BlockID(block), to: SlotID(0)) }
    var order: [Int32] = []
    while let block = tables.removeLast(SlotID(0)) { order.append(block.rawValue) }
    let count = tables.count(SlotID(0))
    #expect(order == [7, 6, 5])
    #expect(count == 0)
  }
}
