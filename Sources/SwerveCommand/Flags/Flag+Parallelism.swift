import SwerveCore
import SwerveHardware

extension Flag {
  /// Several devices, several processes, several hosts: what is still to come, beside the ranks of one process.
  static let parallelism: [Flag] =
    cpu + placement + dataWorkers + links + ranks + [
      one("data-parallel-size", aliases: ["dp", "dp-size"], short: ["dp"], "replicas"),
      .later("data-parallel-rank", .int, .parallelism, default: "0", why: oneProcess, "this replica"),
      .later("data-parallel-start-rank", .int, .parallelism, default: "0", why: oneProcess, "first replica here"),
      .later("data-parallel-size-local", .int, .parallelism, default: "1", why: oneProcess, "replicas here"),
      .later("data-parallel-address", .string, .parallelism, default: "null", why: oneProcess, "address of replica 0"),
      .later("data-parallel-rpc-port", .int, .parallelism, default: "29550", why: oneProcess, "port of replica 0"),
      .later("data-parallel-backend", .string, .parallelism, default: "mp", why: oneProcess, "how replicas start"),
      .later("data-parallel-external-lb", .bool, .parallelism, default: "false", why: oneProcess, "balanced outside"),
      .later("data-parallel-hybrid-lb", .bool, .parallelism, default: "false", why: oneProcess, "balanced per host"),
      .later(
        "enable-expert-parallel", .bool, .parallelism, default: "false", aliases: ["ep"], why: oneProcess,
        "spread experts over devices"),
      .later("enable-eplb", .bool, .parallelism, default: "false", why: oneProcess, "move experts by load"),
      .later("eplb-config", .json, .parallelism, default: "{}", allowed: ["null"], why: oneProcess, "how to move them"),
      one("decode-context-parallel-size", aliases: ["dcp"], short: ["dcp"], "devices a context is split over"),
      one("prefill-context-parallel-size", aliases: ["pcp"], short: ["pcp"], "the same for prompts"),
      one("nnodes", aliases: [], short: ["n"], "hosts"),
      .later("node-rank", .int, .parallelism, default: "0", short: ["r"], why: oneProcess, "this host"),
      one("local-ranks", aliases: ["nproc-per-node"], short: [], "ranks on this host"),
      .later("master-addr", .string, .parallelism, default: "127.0.0.1", why: oneProcess, "address of rank 0"),
      .later("master-port", .int, .parallelism, default: "29501", why: oneProcess, "port of rank 0"),
      .later("headless", .bool, .parallelism, default: "false", why: oneProcess, "worker without HTTP"),
      .later(
        "device", .words("auto", "cpu", "cuda", "metal"), .parallelism, default: "auto", allowed: ["cpu"],
        why: "models run on the CPU", "device"),
      .later("device-ids", .string, .parallelism, default: "auto", why: "models run on the CPU", "devices"),
      .bool(
        "numa-bind", .parallelism, \.engine.numaBind, default: false,
        "bind threads to memory nodes, and weights to the nodes that read them"),
      numbers("numa-bind-nodes", \.engine.numaNodes, "which nodes: 0,1 or 0-3"),
      numbers("numa-bind-cpus", \.engine.numaCPUs, "which CPUs: 0-15,32-47"),
      .ignored("disable-custom-all-reduce", .bool, .parallelism, why: "there is no all-reduce", "plain all-reduce"),
      .ignored("max-parallel-workers", .int, .parallelism, why: "there is one process", "workers"),
      .ignored("ray-workers-use-nsight", .bool, .parallelism, why: "there is no Ray", "profile Ray workers"),
      .ignored("worker-cls", .string, .parallelism, why: "there is one process", "worker class"),
      .ignored("worker-extension-cls", .string, .parallelism, why: "there is one process", "worker class"),
      .ignored("enable-dbo", .bool, .parallelism, why: "there is one device", "overlap of two half batches"),
      .later(
        "comm-backend", .words("auto", "nccl", "shm", "tcp", "rdma", "gloo"), .parallelism, default: "auto",
        why: oneProcess, "how ranks talk"),
      .later(
        "autoscale-config", .json, .parallelism, default: "{}", allowed: ["null"], why: oneProcess, "replica count"),
      .later("enable-elastic-ep", .bool, .parallelism, default: "false", why: oneProcess, "change ranks at run time"),
      .later("enable-fault-tolerance", .bool, .parallelism, default: "false", why: oneProcess, "survive lost ranks"),
      .later("link", .string, .parallelism, default: "auto", why: oneProcess, "transport between devices"),
      .later(
        "attention-partition", .int, .parallelism, default: "256", why: "attention works in pieces of 256 tokens",
        "tokens per partial attention"),
      .later(
        "memory-utilization", .string, .parallelism, default: "null",
        why: "there is one device; use --gpu-memory-utilization", "share of memory per device"),
    ]

  private static let oneProcess = "a model runs in one process on one device"

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

  private static func one(_ name: String, aliases: [String], short: [String], _ help: String) -> Flag {
    .later(name, .int, .parallelism, default: "1", aliases: aliases, short: short, why: oneProcess, help)
  }
}
