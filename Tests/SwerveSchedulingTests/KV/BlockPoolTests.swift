import SwerveCore
import SwerveScheduling
import Testing

@Suite struct BlockPoolTests {
  private func drainOrder(_ pool: inout BlockPool) -> [Int32] {
    var order: [Int32] = []
    while let block = pool.allocate() { order.append(block.rawValue) }
    return order
  }

  @Test func `blocks are taken in ascending order until none is left`() {
    var pool = BlockPool(blockCount: 3)
    let order = drainOrder(&pool)
    let free = pool.freeCount
    let used = pool.usedCount
    #expect(order == [0, 1, 2])
    #expect(free == 0)
    #expect(used == 3)
  }

  @Test func `kept blocks are evicted in the order they were freed and worthless ones first`() {
    var pool = BlockPool(blockCount: 5)
    _ = drainOrder(&pool)
    pool.release(BlockID(3), keeping: true)
    pool.release(BlockID(1), keeping: true)
    pool.release(BlockID(4), keeping: false)
    pool.release(BlockID(0), keeping: false)
    let order = drainOrder(&pool)
    #expect(order == [0, 4, 3, 1])
  }

  @Test func `a block with two holders is freed by the second release`() {
    var pool = BlockPool(blockCount: 2)
    guard let block = pool.allocate() else {
      Issue.record("no block")
      return
    }
    pool.retain(block)
    pool.release(block, keeping: true)
    let heldFree = pool.freeCount
    pool.release(block, keeping: true)
    let free = pool.freeCount
    #expect(heldFree == 1)
    #expect(free == 2)
  }

  @Test func `reviving takes a block out of the middle of the free list`() {
    var pool = BlockPool(blockCount: 4)
    pool.retain(BlockID(2))
    let count = pool.referenceCount(of: BlockID(2))
    let violation = pool.violation()
    let order = drainOrder(&pool)
    #expect(count == 1)
    #expect(violation == nil)
    #expect(order == [0, 1, 3])
  }

  @Test(arguments: [1, 2, 7, 64]) func `random use agrees with a simple model`(blocks: Int) {
    var generator = SeededGenerator(seed: UInt64(blocks))
    var pool = BlockPool(blockCount: blocks)
    var model = (free: Array(0..<blocks), held: [Int: Int]())
    for _ in 0..<5_000 {
      switch Int.random(in: 0..<3, using: &generator) {
      case 0:
        let block = pool.allocate().map { Int($0.rawValue) }
        let expected = model.free.isEmpty ? nil : model.free.removeFirst()
        if let expected { model.held[expected] = 1 }
        #expect(block == expected)
      case 1:
        let block = Int.random(in: 0..<blocks, using: &generator)
        pool.retain(BlockID(block))
        model.free.removeAll { $0 == block }
        model.held[block, default: 0] += 1
      default:
        guard let (block, count) = model.held.randomElement(using: &generator) else { continue }
        let keeping = Bool.random(using: &generator)
        pool.release(BlockID(block), keeping: keeping)
        model.held[block] = count == 1 ? nil : count - 1
        if count == 1 { model.free.insert(block, at: keeping ? model.free.count : 0) }
      }
      let violation = pool.violation()
      let free = pool.freeCount
      #expect(violation == nil)
      #expect(free == model.free.count)
    }
  }
}
