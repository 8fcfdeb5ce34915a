/// Where parameters and request data live.
public enum RolePlacement: String, Sendable, Hashable, CaseIterable {
  /// Both in one place.
  case unified
  /// Parameters in this process, keys and values with data workers.
  case separated
  /// Early layers with one rank, which has a fixed quota of keys and values, late layers with another; sequences beyond the
  /// quota have the early layers' keys and values with data workers.
  case pipelineData = "pipeline-pd"
}

/// What protects links between hosts.
public struct LinkConfiguration: Sendable, Hashable {
  /// Files in PEM: this worker's certificate, its private key, and the authority of all workers. All three or none.
  public var certificate: String?
  public var key: String?
  public var authority: String?
  /// Whether nobody else is on the network: links may go without certificates, or without being sealed.
  public var trustsNetwork = false
  /// `none` or `aes-gcm`; nil: sealed where there are certificates.
  public var encryption: String?
  /// File of the key that prompts are handed over under, the same for all servers.
  public var keyFile: String?

  public init() {}

  /// Whether anything was said of links.
  package var isGiven: Bool { self != LinkConfiguration() }

  package func problems() -> [String] {
    let files = [("--tls-certificate", certificate), ("--tls-key", key), ("--tls-ca", authority)]
    let missing = files.filter { $0.1 == nil }.map(\.0)
    if missing.isEmpty || missing.count == files.count { return [] }
    return [
      "--tls-certificate, --tls-key and --tls-ca are given together; \(missing.joined(separator: " and ")) is missing."
    ]
  }
}

/// Data workers of the `separated` placement, and of the parameter rank of `pipeline-pd`.
public struct DataWorkerConfiguration: Sendable {
  /// How a worker comes to life.
  public enum Launch: Sendable, Hashable {
    /// A thread of this process: nothing is shared over processes, nothing survives on its own.
    case thread
    /// A process: a program that is told with these arguments to be a data worker.
    case process(path: String, arguments: [String])
  }

  /// Workers from the start. ≥ 1
  public var count = 1
  /// Workers that there may be at a time, those attached later included; nil = twice as many, and at least two more.
  public var maximum: Int?
  public var launch = Launch.thread
  /// Where workers of other hosts listen, `host:port`: the first of `count` are these, the rest is launched.
  public var addresses: [String] = []
  /// Seconds in which a worker of another host must be reached.
  public var connectSeconds = 10.0
  /// Seconds that a worker may take for a layer before it counts as lost.
  public var deadline = 30.0
  /// How links to other hosts are protected.
  public var links = LinkConfiguration()
  /// CPUs of each worker of this host, by its number; nil and those missing: whatever is left. Workers attached later take
  /// these in turn.
  public var cpus: [[Int]?] = []
  /// The program's version: a worker of another one is refused.
  public var version = ""

  public init() {}

  package var resolvedMaximum: Int { max(maximum.flatMap { $0 > 0 ? $0 : nil } ?? max(2 * count, count + 2), count) }

  func problems() -> [String] {
    var found = links.problems()
    if !(1...256).contains(count) { found.append("--data-workers must be between 1 and 256, not \(count).") }
    if addresses.count > count {
      found.append("--data-workers-at names \(addresses.count) workers and --data-workers asks for \(count) in all.")
    }
    if !(0.1...3600).contains(connectSeconds) {
      found.append("--data-worker-connect-timeout must be between 0.1 and 3600 seconds, not \(connectSeconds).")
    }
    if let maximum, maximum != 0, maximum < count || maximum > 256 {
      found.append("--max-data-workers must be between --data-workers (\(count)) and 256, not \(maximum).")
    }
    if !(0.05...3600).contains(deadline) {
      found.append("--data-worker-timeout must be between 0.05 and 3600 seconds, not \(deadline).")
    }
    return found
  }
}

extension EngineConfiguration {
  /// Data workers from the start; 0 where there are none.
  package var dataWorkerCount: Int { placement == .separated ? dataWorkers.count : 0 }

  /// Equal parts of the pool, each in a memory of its own.
  package var bankCount: Int {
    switch placement {
    case .unified: 1
    case .separated: dataWorkers.count
    case .pipelineData: 1 + dataWorkers.count
    }
  }

  /// What of the configuration `pipeline-pd` cannot do, one sentence each.
  func pipelineDataProblems() -> [String] {
    guard placement == .pipelineData else { return [] }
    var found = dataWorkers.problems()
    if pipelineParallelSize != 2 || tensorParallelSize != 1 {
      found.append(
        "--placement pipeline-pd has two stages of one rank each: a parameter rank and one with the later layers; use "
          + "--pipeline-parallel-size 2 and --tensor-parallel-size 1, or --placement unified for other sizes.")
    }
    if prefixCachePolicy == .cost {
      found.append("--prefix-cache-policy cost needs one pool of blocks; use lru with --placement pipeline-pd.")
    }
    if kvTiers != nil || kvOffloadingBytes != nil {
      found.append(
        "--kv-tiers (--kv-offloading-size) keeps blocks of the ranks' own pools, and with --placement pipeline-pd some are "
          + "with data workers; leave one of the two out.")
    }
    if gathering != nil { found.append("weights cannot be gathered with --placement pipeline-pd; use one of the two.") }
    if dataWorkers.cpus.contains(where: { $0 != nil }) {
      found.append("--data-devices with numbers of CPUs is for --placement separated; with pipeline-pd use cpu.")
    }
    return found
  }

  /// What of the configuration the separated placement cannot do, one sentence each.
  func separationProblems() -> [String] {
    guard placement == .separated else { return [] }
    var found = dataWorkers.problems()
    if kvTiers != nil || kvOffloadingBytes != nil, !dataWorkers.addresses.isEmpty {
      found.append(
        "--kv-tiers (--kv-offloading-size) keeps blocks of data workers of this host, and --data-workers-at names others; "
          + "use --data-workers, or leave tiers out.")
    }
    if let overflow, overflow.storeBlocks > 0 && overflow.makeStore != nil {
      found.append("data workers read blocks of running sequences in memory only; leave the overflow store out.")
    }
    if dataWorkers.cpus.contains(where: { $0 != nil }), !dataWorkers.addresses.isEmpty {
      found.append(
        "--data-devices with numbers of CPUs is for data workers of this host; those of --data-workers-at are told on "
          + "theirs, with taskset.")
    }
    if overflow != nil, !dataWorkers.addresses.isEmpty {
      found.append("data workers of other hosts cannot read this host's memory; leave places below the device out.")
    }
    if gathering != nil {
      found.append("weights cannot be gathered with --placement separated yet; use one of the two.")
    }
    if tensorParallelSize * pipelineParallelSize > 1 {
      found.append(
        "--tensor-parallel-size and --pipeline-parallel-size spread keys and values over ranks, and with --placement "
          + "separated they are with data workers; leave one of the two out.")
    }
    if numaBind {
      found.append(
        "--numa-bind places all threads and memory of one process; leave it out with --placement separated.")
    }
    return found
  }
}
