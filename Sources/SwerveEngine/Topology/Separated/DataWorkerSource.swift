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
  /// A process's pool and its size; nil for threads, of which a lost one may still write.
  private var region: (file: RegionFile, byteCount: Int)?

  init(launch: DataWorkerConfiguration.Launch) { self.launch = launch }

  /// - Parameter region: what the worker finds, and keeps `byteCount` bytes in.
  init(launch: DataWorkerConfiguration.Launch, region: RegionFile, byteCount: Int) {
    self.launch = launch
    self.region = (region, byteCount)
  }

  mutating func keep(byteCount: Int) throws {
    guard case .process = launch, region?.byteCount != byteCount else { return }
    region = (try RegionFile(name: "swerve-kv", byteCount: byteCount), byteCount)
  }

  mutating func forget() { region = nil }

  func begin(_ common: WorkerGreeting) throws -> any DataWorkerArrival {
    var greeting = common
    greeting.regionBytes = UInt64(region?.byteCount ?? 0)
    let (own, other) = try ControlSocket.pair()
    let memory: SharedMemory
    var process: WorkerProcess?
    switch launch {
    case .thread:
      memory = try SharedMemory(byteCount: greeting.memoryBytes)
      let version = greeting.version
      startThread("swerve-data-\(greeting.worker)") {
        _ = DataWorkerMain.run(control: other, memory: memory, version: version)
      }
    case .process(let path, let arguments):
      memory = try SharedMemory(name: "swerve-link-d\(greeting.worker)", byteCount: greeting.memoryBytes)
      guard let file = memory.file else { throw TransferError.malformed("memory of one process for two") }
      process = try WorkerProcess(
        name: "swerve-data", path: path, arguments: arguments, memory: file, control: other, region: region?.file)
    }
    let settings = SharedChannel.Settings(
      peer: "data worker d\(greeting.worker)", deadline: greeting.deadline,
      spin: SpinBudget(threads: greeting.sharesCores ? .max : Int(greeting.threads)), watch: own)
    let capacity = Int(greeting.capacity)
    return Launched(
      DataWorkerConnection(
        control: own,
        outgoing: SharedChannel(memory, at: 0, capacity: capacity, end: .sender, settings),
        incoming: SharedChannel(memory, at: greeting.channelBytes, capacity: capacity, end: .receiver, settings),
        process: process, greeting: greeting))
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
