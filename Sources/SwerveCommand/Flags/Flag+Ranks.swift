import SwerveCore

extension Flag {
  /// How a model is spread over ranks.
  static let ranks: [Flag] = [
    .int(
      "tensor-parallel-size", .parallelism, \.engine.tensorParallelSize, default: 1, aliases: ["tp", "tp-size"],
      short: ["tp"], "ranks that share every layer: 1, 2, 4 or 8"),
    .int(
      "pipeline-parallel-size", .parallelism, \.engine.pipelineParallelSize, default: 1, aliases: ["pp", "pp-size"],
      short: ["pp"], "stages that share the layers"),
    .custom(
      "pipeline-split", .string, .parallelism, default: "even", "layers of each stage: even, or 20,12"
    ) { settings, value in
      if value.text == "even" {
        settings.engine.pipelineSplit = nil
        return
      }
      let counts = value.text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
      let known = counts.compactMap(\.self)
      guard known.count == counts.count, known.allSatisfy({ $0 > 0 }) else {
        throw FlagError("must be numbers of layers such as 20,12, not \(value.text)")
      }
      settings.engine.pipelineSplit = known
    },
    .custom(
      "distributed-executor-backend",
      .choice([
        "inline": "inline", "uni": "inline", "threads": "threads", "shm": "shm", "mp": "shm", "mpi": "mpi",
        "external_launcher": "mpi", "ray": "shm",
      ]), .parallelism, default: "threads, inline for one rank", "what runs the ranks"
    ) { $0.engine.executor = .init(rawValue: $1.text) },
    .double(
      "distributed-timeout-seconds", .parallelism, \.engine.distributedTimeoutSeconds, default: 60,
      "longest wait of one rank for another"),
    .custom(
      "micro-batches", .words("auto", "1", "2", "3"), .parallelism, default: "auto",
      "pieces of a step that stages, or this and data workers, work on at once"
    ) { $0.engine.microBatches = Int($1.text) },
    .custom(
      "reduction", .words("exact", "fast"), .parallelism, default: "exact",
      "sums over ranks: in the order of one rank, or of rounded parts in less traffic and with other tokens"
    ) { $0.engine.reduction = .init(rawValue: $1.text) ?? .exact },
    .custom(
      "virtual-shards", .int, .parallelism, default: "8", "most cuts of a sum over ranks; always 8"
    ) { _, value in
      guard case .int(8) = value else { throw FlagError("must be 8, not \(value.text): sums have one fixed tree") }
    },
  ]
}
