import SwerveCore
import SwerveHardware
package import SwerveInference
import SwerveTransfer

/// What a process does that is a rank and not rank 0.
package enum RankProcess {
  /// A process that `ProcessRanks` started: runs on the calling thread until rank 0 ends. Whatever fails is told to rank 0.
  ///
  /// - Parameter alter: for tests: changes the words of the rank's n-th plan, as a rank would have it that was told another.
  /// - Returns: the exit code.
  package static func run(alter: ((_ number: Int, _ words: RankWords) -> Void)? = nil) -> Int32 {
    do { try WorkerProcess.enter() } catch { return 2 }
    let control = ControlSocket(Descriptor(WorkerProcess.controlDescriptor))
    do {
      guard let bytes = try control.receive(within: 30, from: "rank 0") else {
        throw TransferError.timedOut("rank 0", seconds: 30)
      }
      let greeting = try RankGreeting(try JSON(parsing: bytes))
      let shared = SharedRanks(greeting)
      let memory = try SharedMemory(
        mapping: Descriptor(WorkerProcess.memoryDescriptor), byteCount: shared.byteCount)
      let links = RankLinks(greeting.rank, of: greeting.layout) {
        shared.end($0, sends: $1, in: memory, watch: control)
      }
      let worker = try load(
        greeting, links, device: greeting.device(greeting.rank), place: greeting.rank,
        ranks: greeting.layout.computingCount)
      (worker as? RankWorker)?.alter = alter
      try control.send(ready(greeting))
      try worker.run(mostMessages: nil)
      return 0
    } catch {
      // Rank 0 may be gone; then nobody is to be told.
      do { try control.send(failed(error)) } catch { return 1 }
      return 1
    }
  }

  /// A process that a launcher of Open MPI started beside rank 0.
  ///
  /// - Parameters:
  ///   - localRank, localSize: of the job's processes on this host, which share its CPUs.
  ///   - onFailure: told why, in one sentence.
  /// - Returns: the exit code.
  package static func runInJob(localRank: Int, localSize: Int, onFailure: (String) -> Void) -> Int32 {
    let job: MPIJob
    do { job = try MPIJob() } catch {
      onFailure("\(error)")
      return 6
    }
    let answer = MPIRankChannels.answer(job, rank: 0, peer: "rank 0")
    func tell(_ bytes: [UInt8]) throws {
      try answer.reserve(bytes.count).copyBytes(from: bytes)
      try answer.send(bytes.count)
    }
    let worker: any RankTask
    do {
      let channel = MPIRankChannels.greeting(job, rank: 0, peer: "rank 0")
      let greeting = try RankGreeting(try JSON(parsing: try channel.receive()))
      try channel.release()
      let channels = MPIRankChannels(greeting, job)
      let links = RankLinks(greeting.rank, of: greeting.layout) { channels.end($0, sends: $1) }
      worker = try load(
        greeting, links, device: greeting.device(localRank, of: max(1, localSize)), place: localRank,
        ranks: max(1, localSize))
      try tell(ready(greeting))
    } catch {
      onFailure("\(error)")
      do { try tell(failed(error)) } catch { onFailure("\(error)") }
      // Rank 0 says so and ends the job.
      job.close()
      return 3
    }
    do {
      try worker.run(mostMessages: nil)
      job.close()
      return 0
    } catch {
      onFailure("\(error)")
      job.abort(1)
      return 1
    }
  }

  private static func ready(_ greeting: RankGreeting) -> [UInt8] {
    Array(JSON.object(["ready": .string(greeting.fingerprint)]).text.utf8)
  }

  private static func failed(_ error: any Error) -> [UInt8] {
    Array(JSON.object(["failed": .string(String("\(error)".prefix(4000)))]).text.utf8)
  }

  private static func load(
    _ greeting: RankGreeting, _ links: RankLinks, device: CPUConfiguration, place: Int, ranks: Int
  ) throws -> any RankTask {
    let fingerprint = try RankGreeting.fingerprint(
      files: greeting.files, runner: greeting.runner, overrides: greeting.overrides, kernels: greeting.kernels)
    guard fingerprint == greeting.fingerprint else {
      throw RankRefusal(
        reason: "its weights, types or kernels are not those of rank 0; give all ranks the same model and program")
    }
    guard let coordinator = links.coordinator else { throw RankRefusal(reason: "rank 0 is nobody's to start") }
    if greeting.layout.isHolder(greeting.rank), let gathering = greeting.runner.gathering {
      return try ShareHolder(
        gathering.plan, rank: greeting.rank, of: gathering.rankCount, path: gathering.path, coordinator: coordinator,
        device: try CPUDevice(configuration: device))
    }
    let own = greeting.own
    try WorkerCPUs.check([greeting.ownCPUs])
    let device = try CPUDevice(configuration: device)
    if greeting.ownCPUs != nil { device.confineCallingThread() }
    let excess = try greeting.data?.start(
      own, blockCount: greeting.blockCount, fingerprint: greeting.fingerprint, device: device,
      parameter: greeting.ownCPUs, rank: place, ranks: ranks,
      findsRegions: greeting.regionBytes > 0)
    let shard = try ModelShard(
      own, files: greeting.files, device: device, blockCount: greeting.blockCount, region: try region(greeting),
      excess: excess, links: links)
    return RankWorker(shard, coordinator: coordinator)
  }

  /// Keys and values that outlive this process, where rank 0 keeps them.
  private static func region(_ greeting: RankGreeting) throws -> MemoryRegion? {
    if greeting.regionBytes == 0 { return nil }
    guard greeting.regionBytes == (try greeting.bankBytes()) else {
      throw RankRefusal(
        reason:
          "rank 0 keeps \(greeting.regionBytes) bytes of keys and values for it, which has \(try greeting.bankBytes()); "
          + "start all ranks from the same program")
    }
    if greeting.ownBlocks == 0 { return nil }
    let memory = try RegionFile.inherited(byteCount: greeting.regionBytes)
    return MemoryRegion(firstByte: memory.start, byteCount: greeting.regionBytes, owner: memory)
  }
}
