package import SwerveCore
package import SwervePlacement
package import SwerveScheduling

/// Workers and links of a placement as a timer: each step costs what the cost model says of its own rows and contexts,
/// and as long as the slowest data worker takes for the sequences that it has.
package struct ModelledCluster: StepTimer {
  package let cost: CostModel
  package let placement: Placement
  private let dataWorkers: Int

  package init(_ cost: CostModel, _ placement: Placement) {
    self.cost = cost
    self.placement = placement
    if case .separated(let count) = placement { dataWorkers = count } else { dataWorkers = 0 }
  }

  package func nanoseconds(of plan: borrowing StepPlan) -> UInt64 {
    if plan.sequences.isEmpty { return 0 }
    var attention = CostModel.Attention()
    var headRows = 0.0
    var loads = [Double](repeating: 0, count: dataWorkers)
    for index in 0..<plan.sequences.count {
      let step = plan.sequences[index]
      let rows = Double(step.rowCount)
      let context = Double(step.contextTokens)
      if step.samples { headRows += 1 }
      if step.rowCount == 1 {
        attention.bytes += (context + 1) * cost.model.tokenKVBytes
      } else {
        attention.operations += cost.model.attentionOperations * rows * (context + rows / 2)
      }
      // A sequence's keys and values stay where its slot is.
      if dataWorkers > 0 { loads[Int(step.slot.rawValue) % dataWorkers] += context + rows }
    }
    let total = loads.reduce(0, +)
    let shares = total > 0 ? loads.map { $0 / total } : nil
    let seconds = cost.step(
      placement, rows: Double(plan.tokens.count), headRows: headRows, attention: attention, shares: shares)
    return seconds < 1e9 ? UInt64(seconds * 1e9) : 1_000_000_000_000_000_000
  }

  /// What a scheduler of this placement works within: blocks as they fit, sequences and budget of the load.
  package var scheduler: SchedulerConfiguration {
    let load = cost.load
    var scheduler = SchedulerConfiguration(
      maxBatchedTokens: load.chunkTokens, maxSequences: load.sequences, blockSize: load.blockTokens,
      blockCount: max(1, cost.room(placement).blocks), maxModelLength: 2 * load.longestTokens)
    scheduler.enablePrefixCaching = false
    return scheduler
  }
}
