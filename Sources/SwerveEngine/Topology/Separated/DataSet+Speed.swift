import SwerveCore
import SwerveScheduling
import SwerveTransfer

// Workers that answer too slowly. Where a worker's memory outlives it, another process takes it over at once and nothing is
// computed again; else it takes no more sequences, those it has end elsewhere, and another worker comes in its place.
extension DataSet {
  /// How long the sequences of a worker that is replaced may go on with it.
  private static let retireSeconds = 10.0

  /// Looks at the step that was executed last, and begins to replace a worker that was slow for too long. While workers come
  /// or go nobody is judged: whoever loads takes the others' time.
  func watchSpeed(_ scheduler: inout Scheduler, _ now: UInt64) {
    if !retiring.isEmpty { finishRetiring(&scheduler, now) }
    var hasStep = false
    for index in links.indices {
      speeds[index] = links[index]?.takeSpeed()
      if speeds[index] != nil { hasStep = true }
    }
    guard hasStep, !isChanging, let verdict = speedWatch.observe(speeds) else { return }
    guard let link = links[verdict.worker], link.state == .ready else { return }
    let reason =
      "\(link.name) was slow for \(verdict.steps) steps: \(Decimals.fixed(verdict.seconds * 1e3, 1)) ms for a layer where "
      + "\(Decimals.fixed(verdict.usual * 1e3, 1)) ms are usual"
    if keepsBlocks(verdict.worker) {
      // `advance` finds it lost and has it replaced.
      link.retire(reason)
    } else {
      onNotice("\(reason); it takes no more sequences, and another worker takes its place")
      scheduler.drain(bank: verdict.worker)
      retiring[verdict.worker] = now + UInt64(Self.retireSeconds * 1e9)
    }
  }

  private func finishRetiring(_ scheduler: inout Scheduler, _ now: UInt64) {
    for (index, until) in retiring {
      guard let link = links[index], link.state == .ready else {
        retiring[index] = nil
        continue
      }
      guard scheduler.sequenceCount(in: index) == 0 || now >= until else { continue }
      retiring[index] = nil
      let count = scheduler.close(bank: index)
      recoveredSequences += count
      recoveries["slow", default: 0] += 1
      nextReport = 0
      link.stop()
      links[index] = nil
      onNotice("\(link.name), which was slow, has ended; \(count) of its sequences are computed again")
      if isWanted[index] { restart(index, now, &scheduler) }
    }
  }
}
