// Where parameters and request data live, and who runs a step plan over them. One executor exists: `InlineExecutor`,
// everything in this process. Others (threads, shared memory, MPI) take the same plan. This room must not schedule.

package import SwerveCore
import SwerveHardware
package import SwerveInference

/// Runs step plans over a topology. Plans arrive in order and are executed in order; the executor takes no decision of
/// its own.
package protocol StepExecutor: ~Copyable {
  /// Computes the plan's rows, writes their keys and values, samples where the plan says so. Throwing fails the
  /// sequences of this step and leaves the executor usable.
  mutating func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws
  /// Copies a block out of the device, all layers one after another. Between steps only.
  mutating func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer)
  /// Copies a block in that `pack` copied out. Between steps only.
  mutating func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID)
}

/// The plan runs in this process, on the calling thread and the device's kernel pool.
package struct InlineExecutor: StepExecutor, ~Copyable {
  private var runner: ModelRunner

  package init(runner: consuming ModelRunner) { self.runner = runner }

  package mutating func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    try runner.execute(plan, into: &result)
  }

  package mutating func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {
    runner.store.cache.pack(block, into: bytes)
  }

  package mutating func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    runner.store.cache.unpack(bytes, into: block)
  }
}
