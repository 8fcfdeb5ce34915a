import SwerveCore
import SwerveInference

/// Runs plans over parameters of this process and keys and values of data workers.
final class SeparatedExecutor: StepExecutor {
  private let runner: ModelRunner
  private let workers: DataSet

  init(runner: ModelRunner, workers: DataSet) {
    self.runner = runner
    self.workers = workers
  }

  func move(_ plan: borrowing StepPlan) {
    if plan.moves.isEmpty { return }
    guard let pools = workers.pools else { preconditionFailure("there are no places below data workers") }
    for index in plan.moves.indices { pools.move(plan.moves[index]) }
  }

  func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    try runner.execute(plan, into: &result)
  }

  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws {
    guard let pools = workers.pools else { preconditionFailure("blocks of these data workers are not copied out") }
    try pools.pack(block, into: bytes)
  }

  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    guard let pools = workers.pools else { preconditionFailure("blocks of these data workers are not copied in") }
    pools.unpack(bytes, into: block)
  }
}
