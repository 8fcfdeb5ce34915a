package import SwerveCore
package import SwerveInference
import SwerveTransfer

/// The other ranks of a group, however they were started.
package protocol RankHandle: AnyObject {
  /// Rank 0's channels to its neighbours, and to all others.
  func links() -> RankLinks
  func coordinator() -> RankCoordinator
  /// Returns when all have loaded.
  func wait() throws(EngineStartError)
  /// What the first of them said that failed; nil where none has said anything.
  var firstReport: String? { get }
  /// Ends them; they are not waited for.
  ///
  /// - Parameter hasFailed: whether they can no longer be told in their own way.
  func stop(hasFailed: Bool)
}

/// Why a group of ranks computes no more.
package struct RankFailure: Error, Hashable, CustomStringConvertible {
  package var reason: String

  package var description: String { "the ranks have stopped: \(reason)" }
}

/// Runs plans over several ranks: this thread is rank 0, which chooses the tokens.
package final class RankedExecutor: StepExecutor {
  private let runner: ModelRunner
  private let ranks: any RankHandle
  /// Why no plan will run again: ranks that once disagreed about where they are must be started anew.
  private var failure: RankFailure?
  /// Monotonic nanoseconds.
  private var nextReport: UInt64 = 0

  package init(runner: ModelRunner, ranks: any RankHandle) {
    self.runner = runner
    self.ranks = ranks
  }

  deinit { ranks.stop(hasFailed: failure != nil) }

  package func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    if let failure { throw failure }
    do {
      try runner.execute(plan, into: &result)
    } catch {
      // A rank's end makes its neighbours end: the first to tell is nearest to the cause.
      let failure = RankFailure(reason: ranks.firstReport ?? "\(error)")
      self.failure = failure
      ranks.stop(hasFailed: true)
      throw failure
    }
  }

  /// Once a second, and at the end; nil in between.
  package func rankTraffic(isLast: Bool) -> RankTraffic? {
    let now = TransferClock.now
    guard failure == nil, isLast || now >= nextReport else { return nil }
    nextReport = now + 1_000_000_000
    // Who does not answer will not execute a step either, and that is told then.
    do { return try runner.rankTraffic() } catch { return nil }
  }

  package func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {
    preconditionFailure("tiers are refused where a block is spread over ranks")
  }

  package func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    preconditionFailure("tiers are refused where a block is spread over ranks")
  }
}
