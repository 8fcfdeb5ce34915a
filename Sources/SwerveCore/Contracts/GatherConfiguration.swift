/// Weights that are fetched layer by layer instead of being resident (`--placement gathered`).
public struct GatherConfiguration: Sendable, Hashable {
  /// `peers`: sharded over the processes of one host, each layer from its owner's shared memory. `host`: from the page
  /// cache, which all processes of the host share. `nvme`: from the disk, past the page cache.
  public enum Source: String, Sendable, CaseIterable { case peers, host, nvme }

  public var source = Source.nvme
  /// Layers fetched ahead of the one that is computed; the ring has one buffer more.
  public var depth = 2

  public init() {}

  /// One sentence for each problem.
  package var problems: [String] {
    var found: [String] = []
    if !(1...64).contains(depth) { found.append("--gather-depth must be between 1 and 64, not \(depth).") }
    if source == .peers {
      found.append("--gather-source peers is not supported yet: weights are gathered from nvme or host.")
    }
    return found
  }
}
