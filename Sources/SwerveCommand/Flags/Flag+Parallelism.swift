import SwerveCore
import SwerveHardware

extension Flag {
  /// Several devices, several processes, several hosts: what is still to come, beside ranks and data workers.
  static let parallelism: [Flag] =
    cpu + placement + dataWorkers + links + ranks + [
      one("data-parallel-size", aliases: ["dp", "dp-size"], short: ["dp"], why: replica, "replicas"),
      .later("data-parallel-rank", .int, .parallelism, default: "0", why: replica, "this replica"),
      .later("data-parallel-start-rank", .int, .parallelism, default: "0", why: replica, "first replica here"),
      .later("data-parallel-size-local", .int, .parallelism, default: "1", why: replica, "replicas here"),
      .later("data-parallel-address", .string, .parallelism, default: "null", why: replica, "address of replica 0"),
      .later("data-parallel-rpc-port", .int, .parallelism, default: "29550", why: replica, "port of replica 0"),
      .later("data-parallel-backend", .string, .parallelism, default: "mp", why: replica, "how replicas start"),
      .later("data-parallel-external-lb", .bool, .parallelism, default: "false", why: replica, "balanced outside"),
      .later("data-parallel-hybrid-lb", .bool, .parallelism, default: "false", why: replica, "balanced per host"),
      .later(
        "enable-expert-parallel", .bool, .parallelism, default: "false", aliases: ["ep"], why: experts,
        "spread experts over devices"),
      .later("enable-eplb", .bool, .parallelism, default: "false", why: experts, "move experts by load"),
      .later("eplb-config", .json, .parallelism, default: "{}", allowed: ["null"], why: experts, "how to move them"),
      one(
        "decode-context-parallel-size", aliases: ["dcp"], short: ["dcp"], why: context,
        "devices a context is split over"),
      one("prefill-context-parallel-size", aliases: ["pcp"], short: ["pcp"], why: context, "the same for prompts"),
      one("nnodes", aliases: [], short: ["n"], why: launcher, "hosts"),
      .later("node-rank", .int, .parallelism, default: "0", short: ["r"], why: launcher, "this host"),
      one("local-ranks", aliases: ["nproc-per-node"], short: [], why: launcher, "ranks on this host"),
      .later("master-addr", .string, .parallelism, default: "127.0.0.1", why: launcher, "address of rank 0"),
      .later("master-port", .int, .parallelism, default: "29501", why: launcher, "port of rank 0"),
      .later("headless", .bool, .parallelism, default: "false", why: launcher, "worker without HTTP"),
      .later(
        "device", .words("auto", "cpu", "cuda", "metal"), .parallelism, default: "auto", allowed: ["cpu"],
        why: "models run on the CPU", "device"),
      .later("device-ids", .string, .parallelism, default: "auto", why: "models run on the CPU", "devices"),
      .bool(
        "numa-bind", .parallelism, \.engine.numaBind, default: false,
        "bind threads to memory nodes, and weights to the nodes that read them"),
      numbers("numa-bind-nodes", \.engine.numaNodes, "which nodes: 0,1 or 0-3"),
      numbers("numa-bind-cpus", \.engine.numaCPUs, "which CPUs: 0-15,32-47"),
      .ignored(
        "disable-custom-all-reduce", .bool, .parallelism, why: "--reduction says how ranks sum", "plain all-reduce"),
      .ignored("max-parallel-workers", .int, .parallelism, why: "all ranks load at once", "workers"),
      .ignored("ray-workers-use-nsight", .bool, .parallelism, why: "there is no Ray", "profile Ray workers"),
      .ignored("worker-cls", .string, .parallelism, why: "workers are this program", "worker class"),
      .ignored("worker-extension-cls", .string, .parallelism, why: "workers are this program", "worker class"),
      .ignored("enable-dbo", .bool, .parallelism, why: "--micro-batches does it", "overlap of two half batches"),
      .later(
        "comm-backend", .words("auto", "nccl", "shm", "tcp", "rdma", "gloo"), .parallelism, default: "auto",
        why: "use --link auto, shm or mpi", "how ranks talk"),
      .later(
        "autoscale-config", .json, .parallelism, default: "{}", allowed: ["null"], why: replica, "replica count"),
      .later("enable-elastic-ep", .bool, .parallelism, default: "false", why: experts, "change ranks at run time"),
      .ignored(
        "enable-fault-tolerance", .bool, .parallelism, why: "lost ranks and data workers are always started again",
        "survive lost ranks"),
      .custom(
        "link", .words("auto", "shm", "mpi", "ucx", "nccl", "nixl"), .parallelism, default: "auto",
        "how workers talk: auto, or nothing but the memory of one host (shm) or Open MPI (mpi)"
      ) { settings, value in
        guard let transport = EngineConfiguration.Transport(rawValue: value.text) else {
          throw FlagError(
            "\(value.text) is not in this build; use auto, which takes shared memory on one host, TCP to data workers of "
              + "others and Open MPI between ranks that mpirun started, or say shm or mpi for nothing else")
        }
        settings.engine.transport = transport
      },
      .later(
        "attention-partition", .int, .parallelism, default: "256", why: "attention works in pieces of 256 tokens",
        "tokens per partial attention"),
      .later(
        "memory-utilization", .string, .parallelism, default: "null",
        why: "all devices have this host's memory; use --gpu-memory-utilization", "share of memory per device"),
    ]

  private static let replica = "a server is one replica; start several with a load balancer before them"
  private static let launcher = "ranks of several hosts are started by mpirun or srun (Docs/parallelism.md)"
  private static let experts = "no model family here has experts"
  private static let context = "a context is split over data workers (--data-workers)"

  /// `auto` or a list as the system writes it: 0-3,8.
  private static func numbers(_ name: String, _ path: Field<[Int]?>, _ help: String) -> Flag {
    .custom(name, .string, .parallelism, default: "auto", help) { settings, value in
      if value.text.lowercased() == "auto" { return }
      guard let list = CPUList.parse(value.text), !list.isEmpty else {
        throw FlagError("must be auto or a list such as 0-3,8, not \(value.text)")
      }
      settings[keyPath: path] = list
    }
  }

  private static func one(
    _ name: String, aliases: [String], short: [String], why: String, _ help: String
  ) -> Flag {
    .later(name, .int, .parallelism, default: "1", aliases: aliases, short: short, why: why, help)
  }
}
