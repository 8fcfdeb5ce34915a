// Where parameters and request data live, and who runs a step plan over them. This room must not schedule.
// Start with the protocol below; InlineExecutor runs everything in this process.

package import SwerveCore
import SwerveHardware
package import SwerveInference

/// Runs step plans over a topology. Plans arrive in order and are executed in order; the executor takes no decision of
/// its own. Built on the engine thread, which alone calls it.
package protocol StepExecutor: AnyObject {
  /// Carries out the plan's moves: blocks leave the device. Before blocks are unpacked for the step, and before `execute`.
  func move(_ plan: borrowing StepPlan)
  /// Whether plans can be executed now; false while what was lost is being started anew. Asked before a step is scheduled.
  func isReady() -> Bool
  /// How often what executes plans was lost and came back.
  var restarts: Int { get }
  /// Computes the plan's rows, writes their keys and values, samples where the plan says so. Throwing fails the
  /// sequences of this step and leaves the executor usable; `StepInterrupted` says that what earlier steps
  /// wrote is still there, and that the step can be planned again.
  func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws
  /// Copies a block out of the device, all layers one after another. Between steps only.
  ///
  /// - Throws: when a part of it is with somebody who does not answer; then the bytes mean nothing.
  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws
  /// Copies a block in that `pack` copied out. Between steps only. Where a part of it does not arrive no plan is executed
  /// any more.
  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID)
  /// What ranks hold and moved; nil where there is one, and where that was told lately. Between steps only; `isLast` before
  /// the engine ends.
  func rankTraffic(isLast: Bool) -> RankTraffic?
}

/// A step that counts for nothing, while all before it stands: who computed it was lost, and comes back.
package struct StepInterrupted: Error, Hashable, CustomStringConvertible {
  package var reason: String

  package init(reason: String) { self.reason = reason }

  package var description: String { reason }
}

extension StepExecutor {
  package func rankTraffic(isLast: Bool) -> RankTraffic? { nil }
  package func isReady() -> Bool { true }
  package var restarts: Int { 0 }

  /// Where there is nothing below the device no plan has moves.
  package func move(_ plan: borrowing StepPlan) {
    precondition(plan.moves.isEmpty, "this executor has no lower places")
  }
}

/// The plan runs in this process, on the calling thread and the device's kernel pool.
package final class InlineExecutor: StepExecutor {
  private let runner: ModelRunner

  package init(runner: ModelRunner) { self.runner = runner }

  package func move(_ plan: borrowing StepPlan) { runner.move(plan) }

  package func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    try runner.execute(plan, into: &result)
  }

  package func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws {
    try runner.blocks.pack(block, into: bytes)
  }

  package func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    runner.blocks.unpack(bytes, into: block)
  }
}
