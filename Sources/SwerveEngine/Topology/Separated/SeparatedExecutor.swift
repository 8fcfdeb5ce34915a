import SwerveCore
import SwerveInference

/// Runs plans over parameters of this process and keys and values of data workers.
final class SeparatedExecutor: StepExecutor {
  private let runner: ModelRunner

  init(runner: ModelRunner) { self.runner = runner }

  func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    try runner.execute(plan, into: &result)
  }

  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {
    preconditionFailure("blocks of data workers are not copied below them")
  }

  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    preconditionFailure("blocks of data workers are not copied from below them")
  }
}
