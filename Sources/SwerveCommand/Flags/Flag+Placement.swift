import SwerveCore

extension Flag {
  /// Where parameters live. What the words together mean is decided by `SettingsParser`.
  static let placement: [Flag] = [
    .string(
      "placement", .parallelism, \.placement.name, default: "unified",
      "where parameters and request data live: unified, tensor, pipeline, pipeline-pd (a fixed quota of keys and values "
        + "beside the early layers), separated (keys and values with data workers), gathered (weights are fetched layer by "
        + "layer), auto, or the file of a plan"),
    .custom(
      "weight-sharding", .words("tp", "zero3"), .parallelism, default: "tp", "zero3 means --placement gathered"
    ) { settings, value in
      if value.text == "zero3" { settings.placement.name = "gathered" }
    },
    .custom(
      "gather-source", .words("peers", "host", "nvme"), .parallelism, default: "nvme",
      "where layers are gathered from: the disk, the host's page cache, or ranks that hold shares of them"
    ) { $0.placement.gather.source = GatherConfiguration.Source(rawValue: $1.text) ?? .nvme },
    .int(
      "gather-depth", .parallelism, \.placement.gather.depth, default: 2, aliases: ["zero3-prefetch-layers"],
      "layers gathered ahead of the one that is computed; the ring has one buffer more"),
    .int(
      "gather-peers", .parallelism, \.placement.gather.peers, default: 2,
      "ranks that hold shares of the weights for --gather-source peers, the one that computes included"),
  ]
}
