import SwerveCore
import SwerveScheduling
import SwerveTransfer

// What data workers hold and do, for reports.
extension DataSet {
  /// What workers do, once a second or when one came or went; nil: as before.
  ///
  /// - Parameter isLast: nobody may look again for long: nothing is left to do.
  func takeStatistics(_ scheduler: borrowing Scheduler, isLast: Bool) -> DataStatistics? {
    let now = TransferClock.now
    guard isLast || now >= nextReport else { return nil }
    nextReport = now + 1_000_000_000
    return statistics(scheduler)
  }

  func statistics(_ scheduler: borrowing Scheduler) -> DataStatistics {
    var all = DataStatistics()
    all.parameterBytes = parameterBytes()
    all.recoveries = recoveries
    all.recoveredSequences = recoveredSequences
    all.keptSequences = keptSequences
    all.verifyFailures = verifyFailures
    all.stepsByMicroBatches = (0..<3).map { steps.counts[$0] }
    all.overlapRatio = steps.overlapRatio
    all.handedStateBytes = steps.handedBytes
    for index in links.indices {
      guard let link = links[index] else { continue }
      var worker = DataStatistics.Worker(name: "d\(index)")
      worker.device = (link.answer?.device ?? "") + (link.place.map { " at \($0)" } ?? "")
      worker.process = link.processID ?? 0
      worker.isReady = link.state == .ready
      worker.epoch = Int(link.greeting.epoch)
      worker.kvBytes = Int(link.answer?.kvBytes ?? 0)
      worker.scratchBytes = Int(link.answer?.scratchBytes ?? 0)
      worker.blocksTotal = worker.isReady ? bankBlocks : 0
      worker.blocksUsed = scheduler.usedBlocks(in: index)
      worker.sequences = scheduler.sequenceCount(in: index)
      worker.blockBytes = blockBytes
      worker.sentBytes = link.traffic.sentBytes
      worker.receivedBytes = link.traffic.receivedBytes
      worker.exchanges = link.traffic.exchanges
      worker.postSeconds = Double(link.traffic.postNanoseconds) * 1e-9
      worker.waitSeconds = Double(link.traffic.waitNanoseconds) * 1e-9
      worker.doneSeconds = Double(link.traffic.doneNanoseconds) * 1e-9
      worker.busySeconds = Double(link.traffic.busyNanoseconds) * 1e-9
      worker.medianDelay = link.traffic.delay(0.5)
      worker.highDelay = link.traffic.delay(0.99)
      all.workers.append(worker)
    }
    return all
  }
}
