package import SwerveCore

/// What a data worker must know of a step, as bytes: its sequences, their block tables and the blocks to copy. Block ids
/// and rows are the worker's own, from 0; behind its blocks come the places that all workers of a host share.
///
/// Behind the header: counts of sequences, blocks, copies and rows (4 × u32); sequences (rows, context tokens,
/// blocks, blocks before them that lie with others: 4 × i32); block table entries (block i32, generation u32); copies
/// (from, to: 2 × i32). The header's hash covers it all.
package struct StepMessage: Sendable {
  /// What a worker was made for; a step beyond it is refused.
  package struct Limits: Sendable, Hashable {
    package var rows: Int
    package var sequences: Int
    package var contextTokens: Int
    package var blockTokens: Int
    package var blockCount: Int
    /// Places below the pools, which blocks are only read from.
    package var placeCount = 0

    package init(rows: Int, sequences: Int, contextTokens: Int, blockTokens: Int, blockCount: Int) {
      self.rows = rows
      self.sequences = sequences
      self.contextTokens = contextTokens
      self.blockTokens = blockTokens
      self.blockCount = blockCount
    }

    /// Entries of all block tables of a step at most.
    package var blockEntries: Int { sequences * ((contextTokens + blockTokens - 1) / blockTokens) }
    /// Copies of a step at most: each sequence's table may be written to at one place, and some more.
    package var copies: Int { 4 * sequences + 64 }
    /// Bytes of the longest step.
    package var byteCount: Int { StepMessage.byteCount(sequences: sequences, blocks: blockEntries, copies: copies) }
  }

  static func byteCount(sequences: Int, blocks: Int, copies: Int) -> Int {
    MessageHeader.byteCount + 16 + 16 * sequences + 8 * blocks + 8 * copies
  }

  static func hash(_ body: UnsafeRawBufferPointer) -> UInt64 {
    var hash = WordHash()
    hash.absorb(body)
    return hash.value
  }
}

/// Writes steps for one data worker.
package struct StepEncoder: Sendable {
  package let limits: StepMessage.Limits
  /// The worker's first block among all, and the first place below all pools.
  private let firstBlock: Int32
  private let firstPlace: Int32
  private let banks: StepPlan.Banks
  /// The worker's place among those that share all blocks.
  private var bank: Int { Int(firstBlock) / limits.blockCount }
  package private(set) var generations: BlockGenerations

  package init(limits: StepMessage.Limits, firstBlock: Int, firstPlace: Int? = nil) {
    self.limits = limits
    self.firstBlock = Int32(firstBlock)
    self.firstPlace = firstPlace.map { Int32($0) } ?? .max
    banks = StepPlan.Banks(
      blocks: limits.blockCount, blockTokens: limits.blockTokens, hasPlaces: firstPlace != nil)
    generations = BlockGenerations(blockCount: limits.blockCount)
  }

  /// The worker was replaced by one whose blocks are empty.
  package mutating func reset() { generations.reset() }

  /// Positions of the sequence's table that are this worker's in a turn; nil where it has no rows, or none are. Turn
  /// 0 is everybody's whose blocks lie with one worker, be some of them below it.
  private func share(of step: SequenceStep, _ plan: borrowing StepPlan, turn: Int) -> Range<Int>? {
    guard step.rowCount > 0,
      let stretch = plan.stretch(turn, of: step, in: banks),
      stretch.bank == bank
    else { return nil }
    return stretch.positions
  }

  private func holds(_ block: BlockID) -> Bool {
    block.rawValue >= firstBlock && Int(block.rawValue - firstBlock) < limits.blockCount
  }

  /// What a turn of the step is for this worker: its sequences' rows, and the bytes it takes; 0 bytes: nothing.
  /// Copies go with the first turn.
  package func measure(_ plan: borrowing StepPlan, turn: Int = 0) -> (rows: Int, byteCount: Int) {
    var (rows, sequences, blocks, copies) = (0, 0, 0, 0)
    for index in plan.sequences.indices {
      guard let share = share(of: plan.sequences[index], plan, turn: turn) else { continue }
      rows += Int(plan.sequences[index].rowCount)
      sequences += 1
      blocks += share.count
    }
    if turn == 0 { for index in plan.copies.indices where holds(plan.copies[index].to) { copies += 1 } }
    if sequences + copies == 0 { return (0, 0) }
    return (rows, StepMessage.byteCount(sequences: sequences, blocks: blocks, copies: copies))
  }

  /// Tokens that this worker's rows of a turn see with it, in all.
  package func tokensSeen(_ plan: borrowing StepPlan, turn: Int = 0) -> Double {
    var sum = 0.0
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      guard let share = share(of: step, plan, turn: turn) else { continue }
      let end = min(Int(step.contextTokens + step.rowCount), share.upperBound * limits.blockTokens)
      sum += Double(step.rowCount) * Double(end - share.lowerBound * limits.blockTokens)
    }
    return sum
  }

  /// Writes a turn of the step; `bytes` are as long as `measure` said. Answers its hash. No allocation.
  ///
  /// - Parameters:
  ///   - number: of the step, greater than those before; nil: the plan's.
  ///   - part: of the step, its parts in order.
  package mutating func encode(
    _ plan: borrowing StepPlan, number: UInt64? = nil, epoch: UInt32, part: Int = 0, turn: Int = 0,
    into bytes: UnsafeMutableRawBufferPointer
  ) -> UInt64 {
    var (rows, sequences, blocks, copies) = (0, 0, 0, 0)
    var at = MessageHeader.byteCount + 16
    // Copies come first in time, and so do the generations they begin.
    if turn == 0 {
      for index in plan.copies.indices where holds(plan.copies[index].to) {
        generations.begin(Int(plan.copies[index].to.rawValue - firstBlock))
        copies += 1
      }
    }
    func put(_ value: Int32) {
      bytes.storeBytes(of: value.littleEndian, toByteOffset: at, as: Int32.self)
      at += 4
    }
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      guard let share = share(of: step, plan, turn: turn) else { continue }
      put(step.rowCount)
      put(step.contextTokens)
      put(Int32(share.count))
      put(Int32(share.lowerBound))
      rows += Int(step.rowCount)
      sequences += 1
      blocks += share.count
    }
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      guard let share = share(of: step, plan, turn: turn) else { continue }
      for position in share {
        let id = plan.blocks[Int(step.firstBlock) + position].rawValue
        if id >= firstPlace {
          // Places are the planner's own memory: nobody else counts what is in them.
          put(Int32(limits.blockCount) + id - firstPlace)
          put(0)
          continue
        }
        let block = id - firstBlock
        let isNew = position * limits.blockTokens >= Int(step.contextTokens)
        let generation = isNew ? generations.begin(Int(block)) : generations[Int(block)]
        put(block)
        put(Int32(bitPattern: generation))
      }
    }
    if turn == 0 {
      for index in plan.copies.indices where holds(plan.copies[index].to) {
        put(plan.copies[index].from.rawValue - firstBlock)
        put(plan.copies[index].to.rawValue - firstBlock)
      }
    }
    at = MessageHeader.byteCount
    for count in [sequences, blocks, copies, rows] { put(Int32(count)) }
    var header = MessageHeader(.step, plan: number ?? plan.id, epoch: epoch)
    header.rows = UInt32(rows)
    header.part = UInt32(part)
    header.hash = StepMessage.hash(UnsafeRawBufferPointer(rebasing: bytes[MessageHeader.byteCount...]))
    header.write(to: bytes)
    return header.hash
  }
}

/// Reads steps at a data worker.
package struct StepDecoder: Sendable {
  package let limits: StepMessage.Limits
  /// Parts of a step at most, and whether sequences may lie here in part.
  private let parts: Int
  private let takesShares: Bool
  private var generations: BlockGenerations
  private var lastPlan: UInt64 = 0
  private var lastPart: UInt32 = 0
  /// Whether the last step named a block by a generation that is not the block's.
  package private(set) var foundStaleBlock = false

  package init(limits: StepMessage.Limits, parts: Int = 1, takesShares: Bool = false) {
    self.limits = limits
    self.parts = parts
    self.takesShares = takesShares
    generations = BlockGenerations(blockCount: limits.blockCount)
  }

  /// Reads a step into a plan that attention understands: sequences without names, their tables, copies, and a token of no
  /// meaning for each row. Everything is checked first; a plan that throws changes nothing here.
  ///
  /// - Throws: `.malformed` for bytes that are not a step, `.refused` for a step that is not for the blocks that are here.
  package mutating func decode(
    _ bytes: UnsafeRawBufferPointer, _ header: MessageHeader, into plan: inout StepPlan
  ) throws(TransferError) {
    plan.removeAll()
    foundStaleBlock = false
    let body = UnsafeRawBufferPointer(rebasing: bytes[MessageHeader.byteCount...])
    guard body.count >= 16, StepMessage.hash(body) == header.hash else {
      throw .malformed("the step's hash is not that of its content: the plans of two workers differ")
    }
    var at = 0
    func next() -> Int32 {
      defer { at += 4 }
      return Int32(littleEndian: body.loadUnaligned(fromByteOffset: at, as: Int32.self))
    }
    let (sequences, blocks, copies, rows) = (Int(next()), Int(next()), Int(next()), Int(next()))
    guard (0...limits.sequences).contains(sequences), (0...limits.blockEntries).contains(blocks),
      (0...limits.copies).contains(copies), (0...limits.rows).contains(rows), rows == header.rows,
      MessageHeader.byteCount + body.count
        == StepMessage.byteCount(sequences: sequences, blocks: blocks, copies: copies)
    else {
      throw .malformed(
        "a step of \(sequences) sequences, \(blocks) blocks, \(copies) copies and \(rows) rows in \(body.count) bytes is "
          + "beyond what the worker was made for")
    }
    guard header.plan > lastPlan || header.plan == lastPlan && header.part > lastPart else {
      throw .refused("step \(header.plan) came after step \(lastPlan): plans are executed once, in order")
    }
    guard header.part < parts else {
      throw .malformed("part \(header.part) of a step where \(parts) are the most")
    }
    plan.id = header.plan
    var (firstRow, firstBlock) = (0, 0)
    for _ in 0..<sequences {
      let (rowCount, context, blockCount, before) = (Int(next()), Int(next()), Int(next()), Int(next()))
      guard rowCount > 0, rowCount <= rows - firstRow, context >= 0, context + rowCount <= limits.contextTokens,
        blockCount > 0, blockCount <= blocks - firstBlock, isShare(before, blockCount, tokens: context + rowCount)
      else {
        throw .malformed(
          "a sequence of \(rowCount) rows after \(context) tokens in \(blockCount) blocks after \(before) is none")
      }
      var step = SequenceStep(
        sequence: SequenceID(request: RequestID(rawValue: 0), index: 0), slot: SlotID(0), firstRow: Int32(firstRow),
        rowCount: Int32(rowCount), contextTokens: Int32(context), promptTokens: 0, firstBlock: Int32(firstBlock),
        blockCount: Int32(blockCount), samples: false)
      step.blocksBefore = Int32(before)
      plan.sequences.append(step)
      firstRow += rowCount
      firstBlock += blockCount
    }
    guard firstRow == rows, firstBlock == blocks else {
      throw .malformed("a step's sequences have \(firstRow) of \(rows) rows and \(firstBlock) of \(blocks) blocks")
    }
    for _ in 0..<rows { plan.tokens.append(0) }
    try readCopies(body, from: 16 + 16 * sequences + 8 * blocks, copies, into: &plan)
    try readTables(body, from: 16 + 16 * sequences, into: &plan)
    begin(plan)
    lastPlan = header.plan
    lastPart = header.part
  }

  /// Whether so many blocks behind others are what a worker can have of a sequence of so many tokens: all of them, or
  /// whole partitions that it reaches.
  private func isShare(_ before: Int, _ count: Int, tokens: Int) -> Bool {
    if before == 0 && tokens <= count * limits.blockTokens { return true }
    let partition = AttentionPartition.tokens / limits.blockTokens
    return takesShares && before >= 0 && before % partition == 0 && before * limits.blockTokens < tokens
      && ((before + count) % partition == 0 || (before + count) * limits.blockTokens >= tokens)
  }

  private func readCopies(
    _ body: UnsafeRawBufferPointer, from start: Int, _ count: Int, into plan: inout StepPlan
  ) throws(TransferError) {
    for index in 0..<count {
      let from = Int32(littleEndian: body.loadUnaligned(fromByteOffset: start + 8 * index, as: Int32.self))
      let to = Int32(littleEndian: body.loadUnaligned(fromByteOffset: start + 8 * index + 4, as: Int32.self))
      guard (0..<limits.blockCount).contains(Int(from)), (0..<limits.blockCount).contains(Int(to)) else {
        throw .malformed("a copy from block \(from) to \(to) where there are \(limits.blockCount)")
      }
      plan.copies.append(BlockCopy(from: BlockID(rawValue: from), to: BlockID(rawValue: to)))
    }
  }

  /// Each entry names a block of ours, of the generation that it will have when it is read.
  private mutating func readTables(
    _ body: UnsafeRawBufferPointer, from start: Int, into plan: inout StepPlan
  ) throws(TransferError) {
    var at = start
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      for position in 0..<Int(step.blockCount) {
        let block = Int32(littleEndian: body.loadUnaligned(fromByteOffset: at, as: Int32.self))
        let generation = UInt32(littleEndian: body.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self))
        at += 8
        let isPlace = Int(block) >= limits.blockCount
        guard block >= 0, Int(block) < limits.blockCount + limits.placeCount else {
          throw .malformed(
            "a table names block \(block) where there are \(limits.blockCount) and \(limits.placeCount) places below")
        }
        plan.blocks.append(BlockID(rawValue: block))
        let token = (Int(step.blocksBefore) + position) * limits.blockTokens
        if isPlace {
          // Full blocks only: what this step writes goes to the pool.
          guard token + limits.blockTokens <= Int(step.contextTokens), generation == 0 else {
            throw .malformed("a step writes to place \(Int(block) - limits.blockCount) below the pool")
          }
          continue
        }
        if token >= Int(step.contextTokens) { continue }
        var expected = generations[Int(block)]
        for copy in plan.copies where copy.to.rawValue == block { expected &+= 1 }
        if generation != expected {
          foundStaleBlock = true
          throw .refused(
            "block \(block) has another content than the step means (generation \(expected), not \(generation))")
        }
      }
    }
  }

  /// For tests: all blocks have another content than whoever plans thinks.
  package mutating func reuseAll() {
    for block in 0..<limits.blockCount { generations.begin(block) }
  }

  private mutating func begin(_ plan: borrowing StepPlan) {
    for index in plan.copies.indices { generations.begin(Int(plan.copies[index].to.rawValue)) }
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      // What is written lies in the pool: `readTables` saw to that.
      for position in 0..<Int(step.blockCount)
      where (Int(step.blocksBefore) + position) * limits.blockTokens >= Int(step.contextTokens) {
        generations.begin(Int(plan.blocks[Int(step.firstBlock) + position].rawValue))
      }
    }
  }
}
