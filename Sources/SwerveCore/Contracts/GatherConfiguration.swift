/// Weights that are fetched layer by layer instead of being resident (`--placement gathered`).
public struct GatherConfiguration: Sendable, Hashable {
  /// `peers`: shared out among ranks, each of which holds the same share of every layer in its memory. `host`: from the page
  /// cache, which all processes of the host share. `nvme`: from the disk, past the page cache.
  public enum Source: String, Sendable, CaseIterable { case peers, host, nvme }

  public var source = Source.nvme
  /// Layers fetched ahead of the one that is computed; the ring has one buffer more.
  public var depth = 2

  /// Ranks that hold shares of the weights, with `peers`: the one that computes included. 2 … 256
  public var peers = 2

  public init() {}

  /// Ranks among which the weights are shared out.
  package var rankCount: Int { source == .peers ? peers : 1 }

  /// One sentence for each problem.
  package var problems: [String] {
    var found: [String] = []
    if !(1...64).contains(depth) { found.append("--gather-depth must be between 1 and 64, not \(depth).") }
    if !(2...256).contains(peers) { found.append("--gather-peers must be between 2 and 256, not \(peers).") }
    return found
  }
}
