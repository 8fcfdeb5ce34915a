/// Everything that decides how an engine is built. Flags, environment and files are read by the command (or given by a
/// library user); below it nobody reads the environment. Names follow the flags.
public struct EngineConfiguration: Sendable {
  // MARK: Model and loading

  /// A folder, or nil for the embedded model. Hub ids are resolved to a folder before this.
  public var modelFolder: String?
  /// What the user asked for (`org/name`, a path, or `story`), for messages and `/v1/models`.
  public var modelName: String = "story"
  /// Another folder for tokenizer and chat template.
  public var tokenizerFolder: String?
  /// Token ids only: no tokenizer is loaded.
  public var skipTokenizerInit = false
  public var dtype = DType.auto
  /// What weights are rounded to while they are loaded.
  public var quantization = Quantization.none
  /// Inputs that share a scale, where a method has groups: 32, 64 or 128; nil = 64 for `nf4`, 128 for others.
  public var quantizationGroup: Int?
  public var loadFormat = LoadFormat.auto
  /// Prompt + output; nil = from the model's configuration; −1 = the largest that fits.
  public var maxModelLength: Int?
  /// Whether `maxModelLength` may exceed the model's own limit (`VLLM_ALLOW_LONG_MAX_MODEL_LEN`).
  public var allowLongMaxModelLength = false
  /// Members that replace those of `config.json`.
  public var configOverrides = JSONObject()
  /// `auto`, `vllm` (ignore the model's file) or a folder.
  public var generationConfig = "auto"
  public var overrideGenerationConfig = JSONObject()
  /// A Jinja template that replaces the model's own.
  public var chatTemplate: String?
  public var defaultTemplateArguments = JSONObject()
  /// Seconds a template may run.
  public var templateTimeout = 30.0
  /// Seeds requests that bring no seed; 0 = still drawn per request.
  public var seed = 0

  // MARK: Placement

  /// Weights are fetched layer by layer into a ring; nil = they are resident.
  public var gathering: GatherConfiguration?

  // MARK: Memory

  /// How keys and values are stored; nil = in the type of the activations.
  public var kvCacheType: KVType?
  /// Tokens per block: 16, 32, 64 or 128.
  public var blockSize = 16
  /// Share of the machine's memory this process may use when no exact size is given. (0, 1]
  public var memoryUtilization = 0.92
  /// Exact KV bytes; overrides the share.
  public var kvCacheBytes: Int?
  /// Exact number of blocks; overrides both. For tests.
  public var kvBlocks: Int?
  public var enablePrefixCaching = true
  /// Which cached block goes first when one is needed.
  public var prefixCachePolicy = PrefixCachePolicy.lru
  /// Where keys and values are kept beside the device, as `--kv-tiers` says: `host=32GiB,nvme=500GiB:/folder`; nil =
  /// nowhere else.
  public var kvTiers: String?
  /// Bytes of host memory for keys and values: a host tier by a shorter name.
  public var kvOffloadingBytes: Int?
  /// File of the key that seals blocks in files; nil = a key of this process alone.
  public var kvKeyFile: String?
  /// Folder of the request journal; nil = none is kept.
  public var journalFolder: String?
  /// Seconds that a request is known after its last token.
  public var journalSeconds = 3600
  /// What happens to the keys and values of a preempted sequence.
  public var preemptionMode = PreemptionMode.auto
  /// Places below the device for blocks of running sequences; nil = none.
  package var overflow: OverflowConfiguration?

  // MARK: Scheduling

  /// Whether this is a batch run rather than a server: larger defaults for the two budgets below.
  public var isOffline = false
  /// Tokens per step; nil = 2048 online, 4096 offline.
  public var maxBatchedTokens: Int?
  /// Sequences per step; nil = 128 online, 256 offline.
  public var maxSequences: Int?
  /// Requests that may wait before new ones are answered 503; nil = no limit.
  public var maxQueuedRequests: Int?
  /// Prompt tokens that may wait before new ones are answered 503; nil = no limit.
  public var maxQueuedTokens: Int?
  /// Seconds a request may wait for its first step before it is answered 503; nil = as long as needed.
  public var queueTimeout: Double?
  /// Who runs first.
  public var schedulingPolicy = Policy.fcfs
  /// Name of an order beyond those (`--scheduler-cls`); replaces `schedulingPolicy`.
  public var schedulerExtension: String?
  /// An order of one's own; replaces both.
  public var customPolicy: (any SchedulingPolicy)?
  /// Shares and targets of groups of requests.
  public var serviceClasses = ServiceClasses()
  /// Whether prompts of similar length are admitted together.
  public var groupsLengths = false
  public var enableChunkedPrefill = true
  /// Longest piece of one prompt per step; 0 = the token budget.
  public var longPrefillThreshold = 0
  /// Whether prompts that take several steps let those that end in one pass, every other step.
  public var adaptsLongPrefill = true
  /// Share of blocks kept free when admitting.
  public var watermark = 0.0
  /// Guess tokens from what was said before and verify several in one step; nil = one token a step.
  public var speculation: SpeculationConfiguration?

  // MARK: Device

  /// Kernel threads; nil = one per allowed CPU.
  public var threads: Int?
  /// [ranks] CPUs of each one's kernel threads; nil, or an empty list: of those the process may use, shared out among ranks.
  public var parameterDevices: [[Int]?] = []
  /// Name of the kernel set (`scalar`, `avx2`, `avx512`, `avx512bf16`, `amx`); nil = the best this CPU has.
  public var kernelSet: String?
  /// Bind kernel threads to memory nodes, and weights to the nodes of the threads that read them.
  public var numaBind = false
  /// Nodes to use, by the system's numbers; nil = all that have allowed CPUs. Only with `numaBind`.
  public var numaNodes: [Int]?
  /// CPUs to use; nil = all of those nodes. Only with `numaBind`.
  public var numaCPUs: [Int]?

  // MARK: Ranks

  /// Ranks that share every layer: 1, 2, 4 or 8.
  public var tensorParallelSize = 1
  /// Stages that share the layers.
  public var pipelineParallelSize = 1
  /// Layers of each stage; nil = evenly.
  public var pipelineSplit: [Int]?
  /// What runs the ranks; nil = `threads` where there are several.
  public var executor: Executor?
  /// What workers may talk through.
  public var transport = Transport.auto
  /// Whether sums over ranks keep the order of one rank's; `fast` sums what was rounded to the activations' type.
  public var reduction = Reduction.exact
  /// Pieces of a step that stages work on at once, 1 … 3; nil = as the step suggests.
  public var microBatches: Int?
  /// Seconds that a rank waits for another.
  public var distributedTimeoutSeconds = 60.0
  /// This process's place among those that a launcher started, for `mpi`; nil without a launcher.
  public var launcher: RankLauncher?
  /// The program that `shm` starts for each rank but the first; nil where this one cannot be a rank.
  public var rankProgram: RankProgram?

  // MARK: Placement

  /// Where parameters and request data live.
  public var placement = RolePlacement.unified
  /// Only with `placement` separated or pipeline-pd.
  public var dataWorkers = DataWorkerConfiguration()

  /// Prompts' keys and values go to other engines or come from them; nil = neither.
  public var kvTransfer: KVTransferConfiguration?

  // MARK: Limits

  public var maxLogprobs = 20
  public var maxSequencesPerRequest = 16384
  public var maxStopStrings = 4
  public var maxBadWords = 128
  /// Seconds without progress, with work waiting, after which the engine counts as stalled.
  public var watchdogSeconds = 300.0

  public enum DType: String, Sendable, CaseIterable { case auto, float32, bfloat16, float16 }
  /// `packed`: the file that `swerve quantize` writes; `auto` takes it where there is one, else safetensors.
  public enum LoadFormat: String, Sendable, CaseIterable { case auto, safetensors, packed, dummy }

  /// `lru`: the one that was used longest ago. `cost`: age, weighed with what computing it again would take and with how
  /// often it was found.
  public enum PrefixCachePolicy: String, Sendable, CaseIterable { case lru, cost }
  public enum Policy: String, Sendable, CaseIterable { case fcfs, priority, fair, slo }

  /// `inline`: one rank on the engine's thread; `threads`: ranks are threads of this process; `shm`: processes of this
  /// host; `mpi`: processes that Open MPI started, on any hosts.
  public enum Executor: String, Sendable, CaseIterable { case inline, threads, shm, mpi }
  /// `auto`: shared memory on one host, TCP to data workers of others, Open MPI between ranks that it started; `shm`, `mpi`:
  /// nothing but that.
  public enum Transport: String, Sendable, CaseIterable { case auto, shm, mpi }
  /// What a launcher (`mpirun`, `srun`) tells a process about the job: its number and those on the same host.
  public struct RankLauncher: Sendable, Hashable {
    public var rank: Int
    public var localRank: Int
    public var localSize: Int

    public init(rank: Int, localRank: Int, localSize: Int) {
      self.rank = rank
      self.localRank = localRank
      self.localSize = localSize
    }
  }
  /// A path, and the words that make the program a rank.
  public struct RankProgram: Sendable, Hashable {
    public var path: String
    public var arguments: [String]

    public init(path: String, arguments: [String]) {
      self.path = path
      self.arguments = arguments
    }
  }
  public enum Reduction: String, Sendable, CaseIterable { case exact, fast }

  /// Whether a request's `priority` has a meaning; else one that is not 0 is refused.
  public var honoursPriority: Bool {
    customPolicy != nil || schedulerExtension == nil && schedulingPolicy == .priority
  }

  public init() {}

  /// The defaults for batch work.
  public static var offline: Self {
    var configuration = Self()
    configuration.isOffline = true
    return configuration
  }

  /// The token budget of a step: at least one token for every sequence that may run.
  public var resolvedMaxBatchedTokens: Int {
    maxBatchedTokens ?? max(isOffline ? 4096 : 2048, maxSequences ?? 0)
  }

  /// Without an explicit number, no more than the token budget allows.
  public var resolvedMaxSequences: Int {
    maxSequences ?? min(isOffline ? 256 : 128, maxBatchedTokens ?? .max)
  }

  /// All problems, each one sentence that names the flag; empty when the configuration is usable.
  public func problems() -> [String] {
    var found: [String] = []
    func require(_ holds: Bool, _ sentence: String) { if !holds { found.append(sentence) } }
    require([16, 32, 64, 128].contains(blockSize), "--block-size must be 16, 32, 64 or 128, not \(blockSize).")
    require(
      memoryUtilization > 0 && memoryUtilization <= 1,
      "--gpu-memory-utilization must be greater than 0 and at most 1, not \(memoryUtilization).")
    // The upper ends are far beyond any machine; below them no size computed from these numbers overflows.
    func require(_ value: Int?, atMost limit: Int, _ flag: String) {
      require((1...limit).contains(value ?? 1), "\(flag) must be between 1 and \(limit), not \(value ?? 1).")
    }
    require(kvCacheBytes, atMost: 1 << 50, "--kv-cache-memory-bytes")
    require(kvOffloadingBytes, atMost: 1 << 50, "--kv-offloading-size (--swap-space)")
    require(kvBlocks, atMost: 1 << 30, "--num-gpu-blocks-override")
    require(maxBatchedTokens, atMost: 1 << 24, "--max-num-batched-tokens")
    require(maxSequences, atMost: 1 << 20, "--max-num-seqs")
    require(maxQueuedRequests ?? 1 > 0, "--max-num-queued-reqs must be positive.")
    require(maxQueuedTokens ?? 1 > 0, "--max-num-queued-tokens must be positive.")
    require(
      queueTimeout.map { (1e-3...1e9).contains($0) } ?? true,
      "--queue-timeout must be between 0.001 and 1000000000 seconds, not \(queueTimeout ?? 0).")
    require(longPrefillThreshold >= 0, "--long-prefill-token-threshold must not be negative.")
    require((0..<1).contains(watermark), "--watermark must be at least 0 and less than 1, not \(watermark).")
    require(
      (1...31_536_000).contains(journalSeconds),
      "--journal-ttl must be between 1 and 31536000 seconds, not \(journalSeconds).")
    found += speculation?.problems() ?? []
    found += separationProblems()
    found += pipelineDataProblems()
    found += gathering?.problems ?? []
    found += transferProblems()
    require(threads, atMost: 4096, "OMP_NUM_THREADS (--threads)")
    if let quantizationGroup {
      require(
        [32, 64, 128].contains(quantizationGroup),
        "--quantization-config group_size must be 32, 64 or 128, not \(quantizationGroup).")
      require(
        quantization.hasGroups,
        "--quantization-config group_size is for --quantization int4, nf4 or int4-dynamic, not \(quantization.rawValue)."
      )
    }
    require(numaBind || numaNodes == nil, "--numa-bind-nodes needs --numa-bind.")
    require(numaBind || numaCPUs == nil, "--numa-bind-cpus needs --numa-bind.")
    parameterDeviceProblems(require)
    rankProblems(require)
    require(maxLogprobs >= -1, "--max-logprobs must be -1 (the vocabulary) or more, not \(maxLogprobs).")
    if let maxModelLength {
      require(
        maxModelLength == -1 || (1...1 << 30).contains(maxModelLength),
        "--max-model-len must be between 1 and \(1 << 30), auto or -1, not \(maxModelLength).")
    }
    if let maxBatchedTokens, let maxSequences, maxBatchedTokens < maxSequences {
      found.append(
        "--max-num-batched-tokens (\(maxBatchedTokens)) must be at least --max-num-seqs (\(maxSequences)): "
          + "every running sequence needs one token a step.")
    }
    if !enableChunkedPrefill, let maxBatchedTokens, let maxModelLength, maxBatchedTokens < maxModelLength {
      found.append(
        "without chunked prefill --max-num-batched-tokens (\(maxBatchedTokens)) must be at least --max-model-len "
          + "(\(maxModelLength)).")
    }
    return found
  }

  /// What is wrong with the ranks asked for, whatever the model.
  private func rankProblems(_ require: (Bool, String) -> Void) {
    require(
      transport != .shm || dataWorkers.addresses.isEmpty && executor != .mpi,
      "--link shm is for workers of this host; leave it out with --data-workers-at and with mpirun.")
    require(
      transport != .mpi || executor == .mpi && dataWorkers.addresses.isEmpty,
      "--link mpi is for ranks that mpirun started, and for nobody beside them; leave it out otherwise.")
    require(
      [1, 2, 4, 8].contains(tensorParallelSize),
      "--tensor-parallel-size must be 1, 2, 4 or 8, not \(tensorParallelSize).")
    require(
      (1...1024).contains(pipelineParallelSize),
      "--pipeline-parallel-size must be between 1 and the model's layers, not \(pipelineParallelSize).")
    require(
      microBatches.map { (1...3).contains($0) } ?? true, "--micro-batches must be auto, 1, 2 or 3.")
    require(
      distributedTimeoutSeconds > 0 && distributedTimeoutSeconds <= 86_400,
      "--distributed-timeout-seconds must be greater than 0 and at most 86400, not \(distributedTimeoutSeconds).")
    if gathering?.source == .peers {
      require(
        executor != .mpi && executor != .inline,
        "--gather-source peers keeps shares of the weights with threads or processes of one host; use "
          + "--distributed-executor-backend threads or shm.")
      require(
        executor != .shm || rankProgram != nil,
        "--distributed-executor-backend shm starts the swerve command for each rank; from another program use threads.")
    }
    guard tensorParallelSize > 1 || pipelineParallelSize > 1 else {
      require(pipelineSplit == nil, "--pipeline-split needs --pipeline-parallel-size.")
      return
    }
    require(
      executor != .mpi || launcher != nil,
      "--distributed-executor-backend mpi runs in processes that Open MPI started: mpirun -np "
        + "\(tensorParallelSize * pipelineParallelSize) swerve serve …")
    require(
      executor != .shm || rankProgram != nil,
      "--distributed-executor-backend shm starts the swerve command for each rank; from another program use threads.")
    require(
      executor != .inline,
      "--distributed-executor-backend inline runs one rank; leave it out, or use threads for several.")
    require(overflow == nil, "blocks of running sequences cannot leave the device where they are spread over ranks.")
    require(
      !numaBind,
      "--numa-bind binds the threads of one rank; leave it out with several, whose threads have CPUs of their own.")
    require(
      !quantization.roundsActivations || tensorParallelSize == 1,
      "--quantization \(quantization.rawValue) rounds whole rows, which tensor parallel ranks do not have; use int8 or int4."
    )
  }
}
