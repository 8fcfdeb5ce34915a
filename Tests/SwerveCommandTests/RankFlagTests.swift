import SwerveCommand
import SwerveCore
import Testing

@Suite struct RankFlagTests {
  @Test func theFlagsReachTheirFields() throws {
    let engine = try parse([
      "-tp", "2", "-pp", "3", "--pipeline-split", "8,8,4", "--distributed-executor-backend", "threads",
      "--micro-batches",
      "2", "--reduction", "fast", "--virtual-shards", "8", "--distributed-timeout-seconds", "7.5",
    ]).settings.engine
    #expect(engine.tensorParallelSize == 2 && engine.pipelineParallelSize == 3 && engine.pipelineSplit == [8, 8, 4])
    #expect(engine.executor == .threads && engine.microBatches == 2 && engine.reduction == .fast)
    #expect(engine.distributedTimeoutSeconds == 7.5)
    let plain = try parse([]).settings.engine
    #expect(plain.tensorParallelSize == 1 && plain.executor == nil && plain.microBatches == nil)
    #expect(try parse(["--micro-batches", "auto"]).settings.engine.microBatches == nil)
  }

  static let backends: [(String, EngineConfiguration.Executor)] = [
    ("inline", .inline), ("uni", .inline), ("threads", .threads), ("shm", .shm), ("mp", .shm), ("ray", .shm),
    ("mpi", .mpi), ("external_launcher", .mpi),
  ]

  @Test(arguments: backends.indices)
  func executorsHaveTheNamesPeopleKnow(_ row: Int) throws {
    let (name, executor) = Self.backends[row]
    let job = ["OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"]
    let engine = try parse(["--distributed-executor-backend", name], environment: job).settings.engine
    #expect(engine.executor == executor && engine.rankProgram?.arguments == ["rank"])
    #expect(engine.launcher == (executor == .mpi ? .init(rank: 1, localRank: 1, localSize: 2) : nil))
  }

  @Test func aJobIsRecognised() throws {
    let job = [
      "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
      "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    ]
    let engine = try parse(["-tp", "2", "-pp", "2"], environment: job).settings.engine
    #expect(engine.executor == .mpi && engine.launcher == .init(rank: 2, localRank: 0, localSize: 2))
    #expect(
      try parse(["-tp", "2", "--distributed-executor-backend", "threads"], environment: job).settings.engine.executor
        == .threads)
    #expect(try parse([], environment: job).settings.engine.executor == nil)
    #expect(try parse(["-tp", "2", "--link", "mpi"], environment: job).settings.engine.transport == .mpi)
    #expect(try parse(["-tp", "2", "--link", "shm"]).settings.engine.transport == .shm)
    let slurm = ["PMIX_RANK": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"]
    #expect(try parse(["-pp", "2"], environment: slurm).settings.engine.launcher?.rank == 1)
    // An allocation of Slurm without a step is no job.
    #expect(
      try parse(["-pp", "2"], environment: ["SLURM_PROCID": "0", "SLURM_NTASKS": "2"]).settings.engine.executor == nil)
  }

  static let refusals: [([String], String)] = [
    (["-tp", "3"], "must be 1, 2, 4 or 8, not 3"), (["-pp", "0"], "--pipeline-parallel-size must be"),
    (["-tp", "2", "--pipeline-split", "a"], "such as 20,12"),
    (["--pipeline-split", "4,4"], "needs --pipeline-parallel-size"),
    (["--virtual-shards", "4"], "must be 8"),
    (["-tp", "2", "--distributed-executor-backend", "inline"], "use threads"),
    (["--distributed-executor-backend", "mpi", "-tp", "2"], "mpirun -np 2"),
    (["-pp", "2", "--numa-bind"], "--numa-bind"),
    (["--link", "ucx"], "use auto, which takes shared memory"), (["--link", "wires"], "--link"),
    (["--link", "shm", "--data-workers-at", "a:1"], "--link shm is for workers of this host"),
    (["--link", "mpi", "-tp", "2"], "--link mpi is for ranks that mpirun started"),
    (["-tp", "2", "-q", "int8-dynamic"], "use int8"), (["--distributed-timeout-seconds", "0"], "greater than 0"),
  ]

  @Test(arguments: refusals.indices)
  func whatCannotBeIsSaidInASentence(_ row: Int) {
    let (arguments, part) = Self.refusals[row]
    let found = problems(arguments)
    #expect(found.count == 1 && found.first?.contains(part) == true, "\(arguments): \(found)")
  }
}
