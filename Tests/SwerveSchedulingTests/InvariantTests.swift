import SwerveCore
import SwerveScheduling
import Testing

/// The checker must be able to fail: each fault is put into a sound scheduler and must be named.
@Suite struct InvariantTests {
  struct Fault: Sendable, CustomTestStringConvertible {
    var name: String
    var expected: String
    var inject: @Sendable (inout Scheduler) -> Void
    var testDescription: String { name }

    init(_ name: String, _ expected: String, _ inject: @escaping @Sendable (inout Scheduler) -> Void) {
      self.name = name
      self.expected = expected
      self.inject = inject
    }
  }

  static let faults = [
    Fault("a leaked reference", "holders and stands in") { $0.pool.retain($0.tables[SlotID(0), 0]) },
    Fault("a reference too few", "holders and stands in") { $0.pool.release($0.tables[SlotID(0), 0], keeping: true) },
    Fault("a block taken and lost", "holders and stands in") { _ = $0.pool.allocate() },
    Fault("a table with another's block", "holders and stands in") {
      $0.tables[SlotID(0), 2] = $0.tables[SlotID(1), 2]
    },
    Fault("a block nobody has", "which is none") { $0.tables[SlotID(0), 2] = BlockID(9_999) },
    Fault("a shared block that is still written to", "still written to and shared") {
      let block = $0.tables[SlotID(1), 2]
      let own = $0.tables[SlotID(0), 2]
      $0.tables[SlotID(0), 2] = block
      $0.pool.retain(block)
      $0.pool.release(own, keeping: false)
    },
    Fault("a forgotten sealed block", "sealed block") { $0.cache.remove($0.tables[SlotID(0), 1]) },
    Fault("a forgotten parent", "which is not cached") { $0.cache.remove($0.tables[SlotID(0), 0]) },
    Fault("blocks in the wrong order", "does not follow") {
      let first = $0.tables[SlotID(0), 0]
      $0.tables[SlotID(0), 0] = $0.tables[SlotID(0), 1]
      $0.tables[SlotID(0), 1] = first
    },
    Fault("a table one block short", "blocks for") {
      if let block = $0.tables.removeLast(SlotID(0)) { $0.pool.release(block, keeping: false) }
    },
    Fault("more computed than known", "known tokens are computed") {
      $0.running[0].computedTokens = $0.running[0].knownTokens
    },
    Fault("a block sealed too many", "are full") { $0.running[0].sealedBlocks += 1 },
    Fault("a lost token", "tokens kept") {
      $0.running[0].generatedTokens += 1
      $0.running[0].promptTokens -= 1
    },
    Fault("a wrong last token", "tokens kept") { $0.running[0].lastToken = -7 },
    Fault("a slot gone idle", "is not active") { $0.running[0].isActive = false },
    Fault("an order turned round", "wrong order") {
      let key = $0.running[0].key
      $0.running[0].key = $0.running[1].key
      $0.running[1].key = key
    },
    Fault("a parent evicted before its child", "is evicted before") {
      // The first free cached block is the end of the old chain: reviving and freeing it puts it behind its parent.
      var block = $0.pool.freeBlock(after: nil)
      while let free = block, !$0.cache.contains(free) { block = $0.pool.freeBlock(after: free) }
      if let free = block {
        $0.pool.retain(free)
        $0.pool.release(free, keeping: true)
      }
    },
  ]

  @Test(arguments: faults) func `a fault is seen and named`(fault: Fault) throws {
    let harness = try Harness(configuration(blockSize: 4, blocks: 64))
    try harness.add(1, tokens(100..<120), sampling(maxTokens: 1))
    try harness.drain()
    try harness.add(2, tokens(0..<10))
    try harness.add(3, tokens(50..<60))
    try harness.step()
    try harness.scheduler.checkInvariants()
    fault.inject(&harness.scheduler)
    let violation = #expect(throws: InvariantViolation.self) { try harness.scheduler.checkInvariants() }
    #expect(violation?.description.contains(fault.expected) == true, "\(violation?.description ?? "nothing")")
  }

  /// The runner's own checks: a wrong plan does not pass unseen.
  @Test(arguments: [
    "a swapped block", "a stale block", "a lost row", "a wrong token", "a wrong context", "an unadmitted slot",
    "a wrong sampling flag",
  ])
  func `a wrong plan changes tokens or is refused by the runner`(fault: String) throws {
    let harness = try Harness(configuration())
    try harness.add(1, tokens(0..<9))
    try harness.add(2, tokens(50..<59))
    try harness.step()
    harness.scheduler.schedule(into: &harness.plan)
    var sound = harness.runner
    var soundResult = StepResult()
    try sound.execute(harness.plan, into: &soundResult)
    var plan = harness.plan
    switch fault {
    case "a swapped block": plan.blocks.swapAt(0, 1)
    case "a stale block": plan.blocks[1] = BlockID(63)
    case "a lost row": plan.sequences[0].rowCount = 0
    case "a wrong token": plan.tokens[0] = 999
    case "a wrong context": plan.sequences[1].contextTokens -= 1
    case "an unadmitted slot": plan.sequences[1].slot = SlotID(5)
    default: plan.sequences[0].samples = false
    }
    var result = StepResult()
    do {
      try harness.runner.execute(plan, into: &result)
      #expect(result.samples != soundResult.samples)
    } catch is RunnerFault {}
  }
}
