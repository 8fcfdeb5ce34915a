import SwerveCore
import SwerveTransfer

/// What a data worker is talked to through.
struct DataWorkerConnection {
  let control: any ControlLink
  /// Steps and rows, and their answers.
  let outgoing: any LinkChannel
  let incoming: any LinkChannel
  /// nil: a thread, or a process of another host.
  var process: WorkerProcess?
  /// Where it is, if not on this host: `10.0.0.2:8500`.
  var place: String?
  /// What the worker is told of itself, where that differs from what everyone is told.
  var greeting: WorkerGreeting
  /// Its keys and values, where this process can reach them: blocks are copied in and out between steps.
  var pool: SharedMemory?
}

/// Where data workers come from: threads, processes of this host, workers that wait on others.
protocol DataWorkerSource: Sendable {
  /// Begins to get a worker; does not wait for it.
  func begin(_ greeting: WorkerGreeting) throws -> any DataWorkerArrival
  /// Keeps memory for a pool of so many bytes that outlives its worker, where workers from here can have such; the one that
  /// is kept already where there is one.
  mutating func keep(byteCount: Int) throws
  /// Gives that memory back to the system.
  mutating func forget()
}

/// Workers whose pool ends with them.
extension DataWorkerSource {
  mutating func keep(byteCount: Int) throws {}
  mutating func forget() {}
}

/// A worker on its way.
protocol DataWorkerArrival: AnyObject {
  /// Its connection, once; nil where it does not come within so many seconds.
  ///
  /// - Throws: when it will not come.
  func take(within seconds: Double) throws -> DataWorkerConnection?
}

/// Threads or processes of this host, over shared memory.
struct LaunchedWorkers: DataWorkerSource {
  let launch: DataWorkerConfiguration.Launch
  /// Whether blocks are copied in and out of their pools, so that this process has to reach those.
  let sharesPools: Bool
  /// Places below all pools; nil: none.
  let places: SharedMemory?
  /// CPUs of each worker, by its number; nil: its own choice. Those of later numbers take them in turn.
  let cpus: [[Int]?]
  /// A process's pool and its size; nil for threads, of which a lost one may still write.
  private var region: (file: RegionFile, byteCount: Int)?
  private var poolBytes = 0
  /// The region as this process sees it.
  private var pool: SharedMemory?

  init(
    launch: DataWorkerConfiguration.Launch, sharesPools: Bool = false, places: SharedMemory? = nil,
    cpus: [[Int]?] = []
  ) {
    self.launch = launch
    self.cpus = cpus
    self.sharesPools = sharesPools
    self.places = places
  }

  /// The same, of a worker that finds its keys and values, `byteCount` bytes of them, in a region.
  func finding(_ region: RegionFile, byteCount: Int) throws -> LaunchedWorkers {
    var own = self
    own.region = (region, byteCount)
    own.pool = sharesPools ? try region.mapped() : nil
    return own
  }

  mutating func keep(byteCount: Int) throws {
    poolBytes = byteCount
    guard case .process = launch, region?.byteCount != byteCount else { return }
    let file = try RegionFile(name: "swerve-kv", byteCount: byteCount)
    region = (file, byteCount)
    pool = sharesPools ? try file.mapped() : nil
  }

  mutating func forget() {
    region = nil
    pool = nil
  }

  func begin(_ common: WorkerGreeting) throws -> any DataWorkerArrival {
    var greeting = common
    greeting.regionBytes = UInt64(region?.byteCount ?? 0)
    if !cpus.isEmpty, let own = cpus[Int(greeting.worker) % cpus.count] {
      greeting.cpus = own.map(UInt32.init)
      greeting.threads = UInt32(own.count)
      greeting.takesTurns = false
    }
    let (own, other) = try ControlSocket.pair()
    let memory: SharedMemory
    var process: WorkerProcess?
    var shared = WorkerMemory(pool: pool, places: places)
    switch launch {
    case .thread:
      memory = try SharedMemory(byteCount: greeting.memoryBytes)
      // Another one each time: what a lost thread still writes is nobody's.
      if sharesPools { shared.pool = try SharedMemory(byteCount: RegionFile.whole(poolBytes)) }
      let (version, given) = (greeting.version, shared)
      startThread("swerve-data-\(greeting.worker)") {
        _ = DataWorkerMain.run(control: other, memory: memory, version: version, shared: given)
      }
    case .process(let path, let arguments):
      memory = try SharedMemory(name: "swerve-link-d\(greeting.worker)", byteCount: greeting.memoryBytes)
      guard let file = memory.file else { throw TransferError.malformed("memory of one process for two") }
      process = try WorkerProcess(
        name: "swerve-data", path: path, arguments: arguments, memory: file, control: other, region: region?.file,
        places: places?.file)
    }
    let settings = greeting.channelSettings(peer: "data worker d\(greeting.worker)", watch: own)
    let capacity = Int(greeting.capacity)
    return Launched(
      DataWorkerConnection(
        control: own,
        outgoing: SharedChannel(memory, at: 0, capacity: capacity, end: .sender, settings),
        incoming: SharedChannel(memory, at: greeting.channelBytes, capacity: capacity, end: .receiver, settings),
        process: process, greeting: greeting, pool: shared.pool))
  }

  /// Can be talked to from the start.
  private final class Launched: DataWorkerArrival {
    private var connection: DataWorkerConnection?

    init(_ connection: DataWorkerConnection) { self.connection = connection }

    func take(within seconds: Double) -> DataWorkerConnection? {
      defer { connection = nil }
      return connection
    }
  }
}
