import SwerveCore
import SwerveEngine
import Testing

/// A way to place a model over workers, as data: what it changes in a configuration, what it needs of a model, and how to
/// see afterwards that it was really used.
struct Topology: Sendable, CustomTestStringConvertible {
  /// What must have moved, and where it must have been.
  enum Mechanism: Sendable {
    /// Nothing beyond one process.
    case none
    case ranks(tensor: Int, stages: Int)
    case dataWorkers(Int, microBatches: Int = 1)
    /// So many, with pools too small for the requests and host memory below them.
    case tieredDataWorkers(Int)
    /// So many with each of several ranks.
    case rankDataWorkers(Int, tensor: Int, stages: Int)
    /// Weights through a ring, from so many other ranks, and so many data workers.
    case ringDataWorkers(Int, peers: Int)
    /// A parameter rank whose quota is not enough, and so many data workers.
    case quota(workers: Int)
    /// Weights through a ring, from so many other ranks.
    case ring(peers: Int)
    /// Processes of Open MPI.
    case job(tensor: Int, stages: Int)
  }

  var name: String
  var mechanism: Mechanism
  /// Ranks among which every layer is shared: not every model can be.
  var tensor = 1
  /// Whether weights come from a packed file.
  var isPacked = false
  var change: @Sendable (inout EngineConfiguration) throws -> Void = { _ in }

  var testDescription: String { name }

  private static func ranks(
    _ name: String, tensor: Int = 1, stages: Int = 1, split: [Int]? = nil, micro: Int? = nil, isPacked: Bool = false,
    _ executor: EngineConfiguration.Executor
  ) -> Topology {
    Topology(
      name: name, mechanism: .ranks(tensor: tensor, stages: stages), tensor: tensor, isPacked: isPacked
    ) {
      $0.tensorParallelSize = tensor
      $0.pipelineParallelSize = stages
      $0.pipelineSplit = split
      $0.microBatches = micro
      $0.executor = executor
      $0.rankProgram = RankProcessTests.program
      $0.distributedTimeoutSeconds = 120
    }
  }

  private static func gathered(
    _ name: String, _ source: GatherConfiguration.Source, peers: Int = 1,
    _ executor: EngineConfiguration.Executor? = nil
  ) -> Topology {
    Topology(name: name, mechanism: .ring(peers: peers - 1), isPacked: true) {
      var gathering = GatheredTests.gathering(source, depth: 1)
      if peers > 1 { gathering.peers = peers }
      $0.gathering = gathering
      $0.executor = executor
      $0.rankProgram = RankProcessTests.program
    }
  }

  private static func quota(
    _ name: String, workers: Int, _ executor: EngineConfiguration.Executor
  ) -> Topology {
    Topology(name: name, mechanism: .quota(workers: workers)) {
      $0.placement = .pipelineData
      $0.pipelineParallelSize = 2
      $0.dataWorkers.count = workers
      $0.executor = executor
      $0.rankProgram = RankProcessTests.program
      $0.distributedTimeoutSeconds = 120
      // The quota is what one longest sequence needs, and less than the requests need at once.
      $0.kvBlocks = 12 * (1 + workers)
    }
  }

  /// - Parameter launch: nil: processes.
  private static func tiered(
    _ name: String, workers: Int, _ launch: DataWorkerConfiguration.Launch?
  ) -> Topology {
    Topology(name: name, mechanism: .tieredDataWorkers(workers)) {
      $0.separate(workers, try launch ?? workerProcess())
      // As many as the longest sequence could have.
      $0.kvBlocks = 12 * workers
      $0.maxSequences = 4 + 2 * workers
      $0.kvTiers = "host=64MiB"
      $0.preemptionMode = .swap
    }
  }

  /// Ranks without keys and values.
  ///
  /// - Parameter launch: nil: processes.
  private static func separatedRanks(
    _ name: String, workers: Int, tensor: Int = 1, stages: Int = 1, _ executor: EngineConfiguration.Executor,
    _ launch: DataWorkerConfiguration.Launch?
  ) -> Topology {
    Topology(
      name: name, mechanism: .rankDataWorkers(workers, tensor: tensor, stages: stages), tensor: tensor
    ) {
      $0.separate(workers, try launch ?? workerProcess(version: ""))
      // Of the programs that stand for the command where a rank starts its workers.
      $0.dataWorkers.version = ""
      $0.tensorParallelSize = tensor
      $0.pipelineParallelSize = stages
      if stages > 1 { $0.microBatches = 2 }
      $0.executor = executor
      $0.rankProgram = RankProcessTests.program
      $0.distributedTimeoutSeconds = 120
    }
  }

  /// Gathered weights, and keys and values with data workers.
  private static func separatedRing(
    _ name: String, workers: Int, _ source: GatherConfiguration.Source, peers: Int = 1
  ) -> Topology {
    Topology(name: name, mechanism: .ringDataWorkers(workers, peers: peers - 1), isPacked: true) {
      $0.separate(workers)
      var gathering = GatheredTests.gathering(source, depth: 1)
      if peers > 1 { gathering.peers = peers }
      $0.gathering = gathering
      if peers > 1 { $0.executor = .threads }
    }
  }

  /// Everything that this build has.
  static let all: [Topology] = [
    Topology(name: "unified, chunked", mechanism: .none) { $0.maxBatchedTokens = 16 },
    ranks("threads, tensor 2", tensor: 2, .threads),
    ranks("threads, tensor 4", tensor: 4, .threads),
    ranks("shm, tensor 2", tensor: 2, .shm),
    ranks("threads, 2 stages", stages: 2, micro: 2, .threads),
    ranks("shm, tensor 2, 2 stages", tensor: 2, stages: 2, .shm),
    ranks("packed, tensor 2", tensor: 2, isPacked: true, .threads),
    ranks("packed, 2 stages", stages: 2, isPacked: true, .shm),
    Topology(name: "separated, 1 worker", mechanism: .dataWorkers(1)) { $0.separate(1, try workerProcess()) },
    Topology(name: "separated, 2 workers", mechanism: .dataWorkers(2)) { $0.separate(2) },
    Topology(name: "separated, 3 workers", mechanism: .dataWorkers(3)) { $0.separate(3) },
    Topology(name: "separated, 2 workers, 2 micro-batches", mechanism: .dataWorkers(2, microBatches: 2)) {
      $0.separate(2)
      $0.microBatches = 2
    },
    Topology(name: "separated, 1 worker, 3 micro-batches", mechanism: .dataWorkers(1, microBatches: 3)) {
      $0.separate(1)
      $0.microBatches = 3
    },
    tiered("separated, 1 worker, tiers", workers: 1, .thread),
    tiered("separated, 2 workers, tiers", workers: 2, nil),
    separatedRanks("separated, 2 workers, threads, tensor 2", workers: 2, tensor: 2, .threads, .thread),
    separatedRanks("separated, 1 worker, shm, tensor 2", workers: 1, tensor: 2, .shm, nil),
    separatedRanks("separated, 2 workers, threads, 2 stages", workers: 2, stages: 2, .threads, .thread),
    separatedRanks(
      "separated, 1 worker, threads, tensor 2, 2 stages", workers: 1, tensor: 2, stages: 2, .threads, .thread),
    separatedRing("separated, 2 workers, gathered from the disk", workers: 2, .nvme),
    separatedRing("separated, 1 worker, gathered from a thread", workers: 1, .peers, peers: 2),
    quota("pipeline-pd, threads, 1 worker", workers: 1, .threads),
    quota("pipeline-pd, shm, 2 workers", workers: 2, .shm),
    gathered("gathered from the disk", .nvme),
    gathered("gathered from the host", .host),
    gathered("gathered from 2 threads", .peers, peers: 3, .threads),
    gathered("gathered from a process", .peers, peers: 2, .shm),
  ]

  /// Those that only run where Open MPI is.
  static let jobs: [Topology] = [
    Topology(name: "mpi, tensor 2", mechanism: .job(tensor: 2, stages: 1), tensor: 2),
    Topology(name: "mpi, 2 stages", mechanism: .job(tensor: 1, stages: 2)),
  ]
}
