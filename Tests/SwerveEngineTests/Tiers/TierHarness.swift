import SwerveCore
import SwerveEngine
import SwerveScheduling
import SwerveTiers
import TierTestSupport

/// A "model" whose every cell depends on all tokens before: one wrong, stale or missing block changes all that follows.
enum CellModel {
  static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var x = (a ^ 0x9E37_79B9_7F4A_7C15) &* 0xBF58_476D_1CE4_E5B9 &+ b
    x ^= x >> 29
    x = (x &+ a) &* 0x94D0_49BB_1331_11EB
    return x ^ x >> 32
  }

  static func cell(_ state: UInt64, _ token: TokenID) -> UInt64 {
    mix(state, UInt64(truncatingIfNeeded: token.rawValue) &+ 1)
  }

  static func token(_ state: UInt64, seed: UInt64) -> TokenID { TokenID(Int(mix(state, seed) % 7)) }

  /// What each choice of a request samples with.
  static func seed(_ seed: UInt64, choice: Int) -> UInt64 { seed &+ 1000 &* UInt64(choice) }

  /// What a sequence gives alone.
  static func reference(_ prompt: [TokenID], seed: UInt64, count: Int) -> [TokenID] {
    var state: UInt64 = 7
    for token in prompt { state = mix(state, cell(state, token)) }
    var output: [TokenID] = []
    while output.count < count {
      let token = token(state, seed: seed)
      output.append(token)
      state = mix(state, cell(state, token))
    }
    return output
  }
}

/// Runs plans over cells in blocks; keeps nothing of a sequence but its seed.
final class CellExecutor: StepExecutor {
  let blockSize: Int
  var cells: [UInt64]
  var seeds: [SlotID: UInt64] = [:]
  /// Tokens computed.
  var rows = 0

  /// - Parameter blockCount: those below the device included.
  init(blockCount: Int, blockSize: Int) {
    self.blockSize = blockSize
    cells = [UInt64](repeating: 0xDEAD, count: blockCount * blockSize)
  }

  func move(_ plan: borrowing StepPlan) {
    for move in plan.moves { copy(from: move.from, to: move.to) }
  }

  private func copy(from: BlockID, to: BlockID) {
    for offset in 0..<blockSize {
      cells[Int(to.rawValue) * blockSize + offset] = cells[Int(from.rawValue) * blockSize + offset]
    }
  }

  func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    for slot in plan.releases { seeds[slot] = nil }
    for admission in plan.admissions {
      seeds[admission.slot] = CellModel.seed(admission.sampling.seed, choice: Int(admission.sequence.index))
    }
    for copy in plan.copies { self.copy(from: copy.from, to: copy.to) }
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      var state: UInt64 = 7
      for position in 0..<Int(step.contextTokens + step.rowCount) {
        let block = Int(plan.blocks[Int(step.firstBlock) + position / blockSize].rawValue)
        let place = block * blockSize + position % blockSize
        if position >= Int(step.contextTokens) {
          cells[place] = CellModel.cell(state, plan.tokens[Int(step.firstRow) + position - Int(step.contextTokens)])
          rows += 1
        }
        state = CellModel.mix(state, cells[place])
      }
      if step.samples {
        result.samples.append(
          Sample(sequenceIndex: Int32(index), token: CellModel.token(state, seed: seeds[step.slot] ?? 0)))
      }
    }
  }

  /// What these blocks held is gone.
  func forget(_ blocks: Range<Int>) {
    for cell in blocks.lowerBound * blockSize..<blocks.upperBound * blockSize { cells[cell] = 0xBAD }
  }

  /// A worker was lost in the step: of what it was to write in these blocks, nothing is right.
  func tear(_ plan: borrowing StepPlan, in blocks: Range<Int>) {
    for copy in plan.copies where blocks.contains(Int(copy.to.rawValue)) {
      forget(Int(copy.to.rawValue)..<Int(copy.to.rawValue) + 1)
    }
    for step in plan.sequences {
      for position in Int(step.contextTokens)..<Int(step.contextTokens + step.rowCount) {
        let block = Int(plan.blocks[Int(step.firstBlock) + position / blockSize].rawValue)
        if blocks.contains(block) { cells[block * blockSize + position % blockSize] = 0xBAD }
      }
    }
  }

  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {
    let first = Int(block.rawValue) * blockSize
    cells[first..<(first + blockSize)].withUnsafeBytes { bytes.copyMemory(from: $0) }
  }

  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    for offset in 0..<blockSize {
      cells[Int(block.rawValue) * blockSize + offset] = bytes.loadUnaligned(fromByteOffset: offset * 8, as: UInt64.self)
    }
  }
}

/// Scheduler, tiers and cells, stepped by hand as the engine's loop steps them.
final class TierHarness {
  var scheduler: Scheduler
  let executor: CellExecutor
  let tiers: BlockTiers
  let disk: MemoryFileSystem
  private let folder: TestFolder
  private var plan = StepPlan()
  private var result = StepResult()
  private var outputs: [SequenceOutput] = []
  private var expired: [RequestID] = []
  private(set) var now: UInt64 = 0
  private(set) var steps = 0
  /// Most rows of a step.
  private(set) var mostRows = 0
  var produced: [SequenceID: [TokenID]] = [:]
  var finished: Set<SequenceID> = []
  /// The bank whose worker breaks in the next step, and whether what it had before outlives it.
  var breaks: (bank: Int, keeps: Bool)?
  /// Banks that were closed in good order: gone once the next step's copies are made.
  private var leaving: [Int] = []
  private let numbers: SchedulerConfiguration

  init(_ configuration: SchedulerConfiguration, hostBlocks: Int, disk: MemoryFileSystem) throws {
    scheduler = try Scheduler(configuration: configuration)
    numbers = configuration
    executor = CellExecutor(blockCount: configuration.ranges.count, blockSize: configuration.blockSize)
    self.disk = disk
    folder = try TestFolder()
    tiers = try Self.open(configuration, hostBlocks, disk, folder)
  }

  private static func open(
    _ configuration: SchedulerConfiguration, _ hostBlocks: Int, _ disk: MemoryFileSystem, _ folder: TestFolder
  ) throws -> BlockTiers {
    let model = Digest(of: [1, 2, 3])
    let bytes = configuration.blockSize * 8
    var settings = FileTierConfiguration(
      folder: folder.path, capacityBytes: 1 << 20, model: model, elementType: .bfloat16, layerCount: 1,
      blockTokens: configuration.blockSize, blockBytes: bytes)
    settings.retrySeconds = 0.001
    let files = try FileTier(settings, master: MasterKey(file: folder.keyFile()), files: disk)
    let host = try HostTier(blockBytes: bytes, capacityBytes: hostBlocks * 4096)
    let shape = BlockShape(
      model: model, type: .bfloat16, layerCount: 1, blockTokens: configuration.blockSize, deviceBytes: bytes)
    return BlockTiers(
      shape: shape, host: host, files: files, deviceBlocks: configuration.blockCount,
      sharesPrefixes: configuration.enablePrefixCaching)
  }

  func add(_ id: UInt64, _ prompt: [TokenID], choices: Int, seed: UInt64, maxTokens: Int) throws {
    var params = SamplingParams()
    params.maxTokens = maxTokens
    try scheduler.add(
      WaitingRequest(
        request: RequestID(rawValue: id), promptTokens: prompt, n: choices,
        sampling: SamplingState(params: params, seed: seed, badWordTokens: [], terminators: []), arrival: now))
  }

  func cancel(_ id: UInt64) { scheduler.cancel(request: RequestID(rawValue: id)) }
  func resetPrefixCache() { scheduler.resetPrefixCache() }
  var hasWork: Bool { scheduler.hasWork }
  var statistics: EngineStatistics { scheduler.statistics }

  func step() throws {
    steps += 1
    now += 1
    scheduler.collectReads(now: now)
    tiers.advance(&scheduler)
    scheduler.schedule(into: &plan, now: now, expired: &expired)
    tiers.swapOut(&scheduler, executor)
    while let bank = leaving.popLast() { executor.forget(blocks(of: bank)) }
    executor.move(plan)
    tiers.load(&scheduler, executor)
    result.removeAll()
    mostRows = max(mostRows, plan.tokens.count)
    try executor.execute(plan, into: &result)
    breakWorker()
    scheduler.apply(plan, result, into: &outputs)
    tiers.keep(&scheduler, executor)
    if let broken = breaks {
      if !broken.keeps { lose(broken.bank) }
      breaks = nil
    }
    tiers.observe(promptRows: 16, seconds: 0.001)
    for output in outputs {
      if let token = output.token { produced[output.sequence, default: []].append(token) }
      if output.finish != nil { finished.insert(output.sequence) }
    }
    // The lane's threads need a moment now and then.
    if plan.sequences.isEmpty && hasWork { tiers.breathe() }
  }

  // MARK: Banks

  private func blocks(of bank: Int) -> Range<Int> { bank * numbers.bankBlocks..<(bank + 1) * numbers.bankBlocks }

  private func breakWorker() {
    guard let broken = breaks else { return }
    let own = blocks(of: broken.bank)
    executor.tear(plan, in: own)
    for (index, step) in plan.sequences.enumerated() where step.blockCount > 0 {
      guard own.contains(Int(plan.blocks[Int(step.firstBlock + step.blockCount) - 1].rawValue)) else { continue }
      result.samples.removeAll { $0.sequenceIndex == Int32(index) }
      result.incomplete.append(Int32(index))
    }
    if broken.keeps { scheduler.suspend(bank: broken.bank) }
  }

  /// The bank's worker is gone with all it held.
  func lose(_ bank: Int) {
    scheduler.close(bank: bank)
    executor.forget(blocks(of: bank))
  }

  /// The bank's worker goes; its sequences' blocks are copied out first.
  func retire(_ bank: Int) {
    scheduler.close(bank: bank, keeping: true)
    leaving.append(bank)
  }

  func open(_ bank: Int) { scheduler.open(bank: bank) }
  func resume(_ bank: Int) { scheduler.resume(bank: bank) }
  func drain(_ bank: Int) { scheduler.drain(bank: bank) }
  func state(_ bank: Int) -> Banks.State { scheduler.banks.states[bank] }

  /// Gives the lane's threads the time they need for what was ordered, within reason: how fast they are must not decide what a test
  /// sees.
  func settle() {
    for _ in 0..<200 where tiers.hasPending {
      tiers.breathe()
      tiers.advance(&scheduler)
    }
  }

  func check() throws {
    try scheduler.checkInvariants()
    if let found = tiers.violation() { throw CellFault(description: found) }
  }

  func drain() throws {
    let limit = steps + 100_000
    while hasWork {
      if steps == limit { throw CellFault(description: "work is left after \(limit) steps") }
      try step()
    }
    try step()
  }
}

struct CellFault: Error, CustomStringConvertible {
  var description: String
}
