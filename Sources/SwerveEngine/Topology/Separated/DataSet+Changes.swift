import SwerveCore
import SwerveScheduling
import SwerveTransfer

// Workers that are attached and drained while sequences run.
extension DataSet {
  /// Attaches one more worker, one that waits somewhere or one of this host; the answer comes when it takes sequences.
  func attach(at endpoint: Endpoint?, _ scheduler: inout Scheduler, _ answer: @escaping DataAnswer) {
    if isFixed { return answer(.failure(.refused(Self.fixed))) }
    if let endpoint, let problem = protection.problem(with: endpoint) { return answer(.failure(.refused(problem))) }
    if endpoint != nil && pools != nil {
      return answer(
        .failure(
          .refused(
            "blocks are copied from and to data workers of this host only; attach one without an address, or start without "
              + "--kv-tiers and --kv-transfer-config")))
    }
    guard let index = links.indices.first(where: { !isWanted[$0] && links[$0] == nil }) else {
      return answer(
        .failure(
          .refused("there are \(links.count) data workers already; start with a larger --max-data-workers to have more")
        ))
    }
    sources[index] = endpoint.map(remote) ?? launched
    isWanted[index] = true
    expectWanted(&scheduler)
    notBefore[index] = 0
    failedStarts[index] = 0
    attaching[index] = answer
    restart(index, TransferClock.now, &scheduler)
  }

  /// Lets a worker's sequences end, for so many seconds at most, has the rest computed elsewhere, and ends the worker.
  func drain(
    _ index: Int, within seconds: Double, _ scheduler: inout Scheduler, _ answer: @escaping DataAnswer
  ) {
    if isFixed { return answer(.failure(.refused(Self.fixed))) }
    guard links.indices.contains(index), let link = links[index], link.state == .ready, draining[index] == nil else {
      return answer(.failure(.refused("there is no data worker d\(index) that could be drained")))
    }
    guard links.indices.contains(where: { $0 != index && scheduler.isOpen($0) }) else {
      return answer(
        .failure(.refused("\(link.name) is the last one that takes sequences; attach another one first")))
    }
    guard scheduler.fits(banks: isWanted.count { $0 } - draining.count - 1) else {
      return answer(
        .failure(
          .refused(
            "a request under way is longer than what the other workers hold together; attach another one first, or wait "
              + "for its end")))
    }
    scheduler.drain(bank: index)
    draining[index] = (answer, TransferClock.now + UInt64(max(seconds, 0) * 1e9))
    expectWanted(&scheduler)
  }

  private static var fixed: String {
    "each of several ranks has data workers of its own, those of the start; start with another --data-workers"
  }

  /// Tells the scheduler how many workers there are to be: no request gets longer than they hold.
  func expectWanted(_ scheduler: inout Scheduler) {
    scheduler.expect(banks: isWanted.count { $0 } - draining.count)
  }

  func finishDraining(_ scheduler: inout Scheduler, _ now: UInt64) {
    for (index, waiting) in draining {
      guard scheduler.sequenceCount(in: index) == 0 || now >= waiting.until, let link = links[index] else { continue }
      let count = scheduler.close(bank: index, keeping: hasTiers)
      recoveredSequences += count
      isWanted[index] = false
      link.stop()
      giveUp(index)
      draining[index] = nil
      nextReport = 0
      onNotice(
        "\(link.name) is drained; \(count) of its sequences "
          + (hasTiers ? "go on elsewhere with what tiers keep of them" : "are computed again elsewhere"))
      waiting.answer(.success(link.name))
    }
  }
}
