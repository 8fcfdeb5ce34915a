package import SwerveCore
package import SwerveInference
import SwerveTransfer

/// Runs plans over several ranks: this thread is rank 0, which chooses the tokens.
///
/// A group that lost a rank is started again where it can be; until it has loaded there are no steps. Rank 0 keeps its
/// weights, its keys and values and its samplers meanwhile, the others find theirs (`ProcessRanks`).
package final class RankedExecutor: StepExecutor {
  private let runner: ModelRunner
  private let ranks: any RankHandle
  private let onNotice: (String) -> Void
  /// [ranks that compute] bytes of their parts of a block.
  private let parts: [Int]
  /// Where those lie in the block; nil: as they come.
  private let order: RankBlockOrder?
  /// A block as ranks have it; empty where they have it as it is.
  private let scratch: UnsafeMutableRawBufferPointer
  /// Blocks that were to be given to ranks which were being started again: given when they are back, before any step.
  private var owed: [(block: BlockID, bytes: [UInt8])] = []
  /// Why no plan will run again: ranks that once disagreed about where they are must be started anew.
  private var failure: RankFailure?
  /// Monotonic nanoseconds.
  private var nextReport: UInt64 = 0
  /// Since when the group is being started again; nil: it computes. Monotonic nanoseconds.
  private var restartBegan: UInt64?
  /// Starts that failed one after the other.
  private var failedStarts = 0
  private var nextLook: UInt64 = 0
  package private(set) var restarts = 0

  static var mostFailedStarts: Int { 3 }

  /// - Parameters:
  ///   - parts: [ranks that compute] bytes of their parts of a block; empty where blocks are not copied.
  ///   - order: of the parts in the block; nil: one after the other.
  ///   - onNotice: hears, in one sentence, of ranks that are lost and come back.
  package init(
    runner: ModelRunner, ranks: any RankHandle, parts: [Int] = [], order: RankBlockOrder? = nil,
    onNotice: @escaping (String) -> Void = { _ in }
  ) {
    self.order = order
    scratch = .allocate(byteCount: order?.byteCount ?? 0, alignment: 64)
    self.parts = parts
    self.runner = runner
    self.ranks = ranks
    self.onNotice = onNotice
  }

  deinit {
    ranks.stop(hasFailed: failure != nil)
    scratch.deallocate()
  }

  package func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    if let failure { throw failure }
    if restartBegan != nil { throw StepInterrupted(reason: "the ranks are being started again") }
    do {
      try runner.execute(plan, into: &result)
    } catch {
      let cause = lose(error)
      guard ranks.canRestart else {
        failure = cause
        throw cause
      }
      begin(cause)
      throw StepInterrupted(reason: "\(cause)")
    }
  }

  /// Once a second, and at the end; nil in between.
  package func rankTraffic(isLast: Bool) -> RankTraffic? {
    let now = TransferClock.now
    guard failure == nil, restartBegan == nil, isLast || now >= nextReport else { return nil }
    nextReport = now + 1_000_000_000
    // Who does not answer will not execute a step either, and that is told then.
    do { return try runner.rankTraffic() } catch { return nil }
  }

  // MARK: Coming back

  package func isReady() -> Bool {
    if failure != nil { return true }
    guard let began = restartBegan else {
      let now = TransferClock.now
      if !ranks.canRestart || now < nextLook { return true }
      nextLook = now + 100_000_000
      guard let lost = ranks.lost else { return true }
      begin(RankFailure(reason: lost))
      return false
    }
    do {
      guard try ranks.poll(within: 0) else { return false }
    } catch {
      retry(RankFailure(reason: "\(error)"))
      return false
    }
    runner.reconnect(ranks.links(), ranks.coordinator())
    do { try giveOwed() } catch {
      retry(RankFailure(reason: ranks.firstReport ?? "\(error)"))
      return false
    }
    restartBegan = nil
    failedStarts = 0
    restarts += 1
    let seconds = Decimals.fixed(Double(TransferClock.now - began) * 1e-9, 3)
    onNotice("all ranks are back after \(seconds) s, with their keys and values")
    return true
  }

  private func begin(_ cause: RankFailure) {
    onNotice("\(cause); all are started again")
    restartBegan = TransferClock.now
    do { try ranks.restart() } catch { retry(RankFailure(reason: "\(error)")) }
  }

  /// What does not start is tried again, a few times.
  private func retry(_ cause: RankFailure) {
    failedStarts += 1
    ranks.stop(hasFailed: true)
    if failedStarts >= Self.mostFailedStarts {
      failure = cause
      return onNotice("\(cause); they do not start again")
    }
    do { try ranks.restart() } catch { retry(RankFailure(reason: "\(error)")) }
  }

  // MARK: Blocks below the device

  /// Moves concern the pool of one rank: with several that compute no plan has any.
  package func move(_ plan: borrowing StepPlan) { if !plan.moves.isEmpty { runner.move(plan) } }

  package func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws {
    if let failure { throw failure }
    if restartBegan != nil { throw RankFailure(reason: "they are being started again") }
    do {
      guard let order else { return try runner.pack(block, parts: parts, into: bytes) }
      try runner.pack(block, parts: parts, into: scratch)
      order.join(UnsafeRawBufferPointer(scratch), into: bytes)
    } catch {
      let cause = lose(error)
      if ranks.canRestart { begin(cause) } else { failure = cause }
      throw cause
    }
  }

  package func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    if failure != nil { return }
    // A block that some ranks have and others have not would be read as if all had it: it is owed to all of them.
    if restartBegan != nil { return owed.append((block, Array(bytes))) }
    do { try give(bytes, to: block) } catch {
      let cause = lose(error)
      guard ranks.canRestart else {
        failure = cause
        return
      }
      owed.append((block, Array(bytes)))
      begin(cause)
    }
  }

  private func give(_ bytes: UnsafeRawBufferPointer, to block: BlockID) throws {
    guard let order else { return try runner.unpack(bytes, parts: parts, into: block) }
    order.cut(bytes, into: scratch)
    try runner.unpack(UnsafeRawBufferPointer(scratch), parts: parts, into: block)
  }

  /// In the order in which blocks were loaded: a place may have got another content since.
  private func giveOwed() throws {
    for (block, bytes) in owed { try bytes.withUnsafeBytes { try give($0, to: block) } }
    owed.removeAll()
  }

  private func lose(_ error: any Error) -> RankFailure {
    // A rank's end makes its neighbours end: the first to tell is nearest to the cause.
    let cause = RankFailure(reason: ranks.firstReport ?? "\(error)")
    ranks.stop(hasFailed: true)
    return cause
  }
}
