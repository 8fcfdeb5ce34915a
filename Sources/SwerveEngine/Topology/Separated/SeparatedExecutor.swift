import SwerveCore
import SwerveInference

/// Runs plans over parameters of this process, or of several ranks, and keys and values of data workers.
final class SeparatedExecutor: StepExecutor {
  /// Of the parameters.
  private let base: any StepExecutor
  private let attention: FanoutAttention
  private var workers: DataSet { attention.workers }

  init(_ base: any StepExecutor, attention: FanoutAttention) {
    self.base = base
    self.attention = attention
  }

  func isReady() -> Bool { base.isReady() }

  var restarts: Int { base.restarts }

  func rankTraffic(isLast: Bool) -> RankTraffic? { base.rankTraffic(isLast: isLast) }

  func move(_ plan: borrowing StepPlan) {
    if plan.moves.isEmpty { return }
    guard let pools = workers.pools else { preconditionFailure("there are no places below data workers") }
    for index in plan.moves.indices { pools.move(plan.moves[index]) }
  }

  func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    do { try base.execute(plan, into: &result) } catch {
      attention.giveUpStep()
      throw error
    }
  }

  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws {
    try base.pack(block, into: bytes)
  }

  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    base.unpack(bytes, into: block)
  }
}
