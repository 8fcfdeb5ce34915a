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
  /// Whether what workers and ranks of one host tell each other in shared memory is checked over all of its bytes.
  public var checksContent = false

  public init() {}

  /// Whether anything was said of links.
  package var isGiven: Bool {
    var own = self
    own.checksContent = false
    return own != LinkConfiguration()
  }

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

  /// CPUs of the workers of one of several ranks: its part of each device, or all of one that has fewer CPUs than there are
  /// ranks.
  package func cpus(of rank: Int, among ranks: Int) -> [[Int]?] {
    cpus.map { device in
      guard let device, device.count >= ranks else { return device }
      return Array(device[(device.count * rank / ranks)..<(device.count * (rank + 1) / ranks)])
    }
  }

  /// Whether a worker keeps to CPUs that somebody named.
  package var namesCPUs: Bool { cpus.contains { $0 != nil } }

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
  /// CPUs of rank 0's kernel threads; nil = of those the process may use.
  package var parameterCPUs: [Int]? { parameterDevices.first ?? nil }

  /// [ranks] where CPUs are named; else empty.
  package var namedParameterDevices: [[Int]?] { parameterCPUs == nil ? [] : parameterDevices }

  /// What of the devices of the weights cannot be, one sentence each.
  func parameterDeviceProblems(_ require: (Bool, String) -> Void) {
    let named = parameterDevices.compactMap { $0 }
    if parameterDevices.isEmpty || parameterDevices.count == 1 && named.isEmpty { return }
    let ranks = tensorParallelSize * pipelineParallelSize
    require(
      parameterDevices.count == ranks,
      "--parameter-devices names \(parameterDevices.count) devices and the weights are with \(ranks) rank"
        + "\(ranks == 1 ? "" : "s"); name one each, or say with -tp or -pp how they are shared.")
    require(
      named.isEmpty || named.count == parameterDevices.count,
      "--parameter-devices names the CPUs of all ranks, as cpu:0-7,cpu:8-15, or of none.")
    if named.isEmpty { return }
    require(
      !numaBind, "--numa-bind places threads too; use --numa-bind-cpus, or --parameter-devices.")
    let count = named.reduce(0) { $0 + $1.count }
    if let threads {
      require(
        ranks == 1 && threads <= count,
        ranks == 1
          ? "--threads \(threads) is more than the \(count) CPUs that --parameter-devices names."
          : "--threads is for ranks without CPUs of their own; with --parameter-devices each has a thread on each of "
            + "its CPUs.")
    }
  }

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
    if gathering != nil { found.append("weights cannot be gathered with --placement pipeline-pd; use one of the two.") }
    if dataWorkers.namesCPUs {
      found.append("--data-devices with numbers of CPUs is for --placement separated; with pipeline-pd use cpu.")
    }
    return found
  }

  /// What several ranks with data workers of their own cannot do, one sentence each.
  private func separatedRankProblems() -> [String] {
    var found: [String] = []
    let ranks = "each of several ranks has data workers of its own"
    if !dataWorkers.addresses.isEmpty {
      found.append("\(ranks), on its host: use --data-workers, not --data-workers-at.")
    }
    if let maximum = dataWorkers.maximum, maximum > dataWorkers.count {
      found.append("\(ranks), those of the start: leave --max-data-workers out.")
    }
    if dataWorkers.namesCPUs, dataWorkers.cpus.contains(nil) || parameterCPUs == nil {
      found.append(
        "\(ranks): name the CPUs of all devices, with --parameter-devices cpu:0-3,cpu:4-7 --data-devices cpu:8-15, or "
          + "of none.")
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
    if dataWorkers.namesCPUs, !dataWorkers.addresses.isEmpty {
      found.append(
        "--data-devices with numbers of CPUs is for data workers of this host; those of --data-workers-at are told on "
          + "theirs, with taskset.")
    }
    if overflow != nil, !dataWorkers.addresses.isEmpty {
      found.append("data workers of other hosts cannot read this host's memory; leave places below the device out.")
    }
    if gathering != nil, let microBatches, microBatches > 1 {
      found.append(
        "--micro-batches \(microBatches) would fetch gathered weights more than once a step; use 1 with --placement separated."
      )
    }
    if tensorParallelSize * pipelineParallelSize > 1 { found += separatedRankProblems() }
    if numaBind {
      found.append(
        "--numa-bind places all threads and memory of one process; leave it out with --placement separated.")
    }
    return found
  }
}
