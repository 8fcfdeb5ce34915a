import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// Attention at data workers: each sequence's rows go to the worker that has its blocks, to all of them before any answer
/// is awaited. Where one worker has all rows, they are written into and read from its channel in place.
///
/// A worker that is lost in a step makes its sequences `incomplete`; the others go on as if nothing had happened.
final class FanoutAttention: AttentionPort {
  private let shape: AttentionShape
  private let workers: DataSet
  private let device: CPUDevice
  /// A [maxRows, Hq × d]: output gathered from several workers, and what stands for rows that none computed.
  private let outputBuffer: DeviceBuffer
  private let output: Tensor

  /// Neighbouring rows of one worker.
  private struct Run {
    var worker: Int32
    var firstRow: Int32
    var rowCount: Int32
    /// The first one's place among the worker's rows.
    var localRow: Int32
  }
  // Of the step; storage is kept.
  private var runs: [Run] = []
  /// Workers with rows in this step.
  private var active: [Int] = []
  /// [workers] rows counted while runs are listed.
  private var counts: [Int32]
  /// [sequences] worker of each; −1: none.
  private var owners: [Int32] = []
  private var rowCount = 0
  /// Whether one worker has all rows, in order.
  private var isWhole = false

  init(
    shape: AttentionShape, type: ElementType, limits: RunnerLimits, workers: DataSet, device: CPUDevice
  ) throws(HardwareError) {
    self.shape = shape
    self.workers = workers
    self.device = device
    outputBuffer = try device.allocate(byteCount: limits.rows * shape.queryWidth * type.byteCount)
    output = outputBuffer.tensor(type, rows: limits.rows, columns: shape.queryWidth)
    counts = [Int32](repeating: 0, count: workers.links.count)
    runs.reserveCapacity(limits.sequences)
    owners.reserveCapacity(limits.sequences)
    active.reserveCapacity(workers.links.count)
  }

  func begin(_ plan: borrowing StepPlan) -> StepHandle {
    rowCount = plan.tokens.count
    active.removeAll(keepingCapacity: true)
    for index in workers.links.indices {
      if workers.links[index]?.begin(plan) == true { active.append(index) }
    }
    listRuns(plan)
    isWhole = active.count == 1 && runs.count == 1 && Int(runs[0].rowCount) == rowCount
    return StepHandle(plan: plan.id)
  }

  private func listRuns(_ plan: borrowing StepPlan) {
    runs.removeAll(keepingCapacity: true)
    owners.removeAll(keepingCapacity: true)
    for index in counts.indices { counts[index] = 0 }
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      // The last block is written to, so it is a worker's; those before it may lie below.
      let last = Int(step.firstBlock + step.blockCount) - 1
      let owner = step.blockCount > 0 ? workers.owner(of: plan.blocks[last]) : -1
      owners.append(Int32(owner))
      guard step.rowCount > 0, owner >= 0 else { continue }
      let local = counts[owner]
      counts[owner] += step.rowCount
      if let last = runs.indices.last, runs[last].worker == Int32(owner),
        runs[last].firstRow + runs[last].rowCount == step.firstRow
      {
        runs[last].rowCount += step.rowCount
      } else {
        runs.append(Run(worker: Int32(owner), firstRow: step.firstRow, rowCount: step.rowCount, localRow: local))
      }
    }
  }

  func places(layer: Int, rows: Int) -> AttentionRows? {
    isWhole ? workers.links[active[0]]?.places(shape) : nil
  }

  func submit(layer: Int, microbatch: Int, q: Tensor, k: Tensor, v: Tensor) {
    for worker in active {
      guard let link = workers.links[worker] else { continue }
      if isWhole {
        // The worker was lost since the rows were written elsewhere: its own memory is not theirs.
        if let places = link.places(shape), places.q.pointer != q.pointer { copy(q, k, v, to: places, of: worker) }
      } else if let places = link.places(shape) {
        copy(q, k, v, to: places, of: worker)
      }
      link.post(layer: layer)
    }
    if workers.sharesCores { device.pool.rest() }
  }

  private func copy(_ q: Tensor, _ k: Tensor, _ v: Tensor, to places: AttentionRows, of worker: Int) {
    copy(q, to: places.q, of: worker)
    copy(k, to: places.k, of: worker)
    copy(v, to: places.v, of: worker)
  }

  private func copy(_ from: Tensor, to: Tensor, of worker: Int) {
    let bytes = from.columns * from.type.byteCount
    for run in runs where run.worker == Int32(worker) {
      for row in 0..<Int(run.rowCount) {
        (to.pointer + (Int(run.localRow) + row) * bytes).copyMemory(
          from: from.pointer + (Int(run.firstRow) + row) * from.rowBytes, byteCount: bytes)
      }
    }
  }

  func result(layer: Int, microbatch: Int) -> Tensor {
    if isWhole {
      guard let link = workers.links[active[0]] else { return output.first(rowCount) }
      // What was read in the last layer has been used.
      link.giveBack()
      return link.output(layer: layer, shape) ?? output.first(rowCount)
    }
    for worker in active {
      guard let link = workers.links[worker], let rows = link.output(layer: layer, shape) else { continue }
      let begin = TransferClock.now
      let bytes = output.rowBytes
      for run in runs where run.worker == Int32(worker) {
        (output.pointer + Int(run.firstRow) * bytes).copyMemory(
          from: rows.pointer + Int(run.localRow) * bytes, byteCount: Int(run.rowCount) * bytes)
      }
      link.giveBack()
      link.noteDone(since: begin)
    }
    return output.first(rowCount)
  }

  func end(_ handle: StepHandle) -> ResidencyChanges {
    var changes = ResidencyChanges()
    for worker in active {
      guard let link = workers.links[worker] else { continue }
      link.giveBack()
      if link.state == .ready { continue }
      for index in owners.indices where owners[index] == Int32(worker) { changes.incomplete.append(Int32(index)) }
    }
    if active.count > 1 && !changes.incomplete.isEmpty { changes.incomplete.sort() }
    return changes
  }
}
