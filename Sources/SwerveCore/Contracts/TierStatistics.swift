/// Counters and gauges of the KV tiers below the device at one moment. Counters only grow.
package struct TierStatistics: Sendable, Hashable {
  /// Where a block was found.
  package enum Source: Int, Sendable, CaseIterable { case host, files }

  // MARK: Host memory

  /// Bytes of one block as the host keeps it.
  package var hostBlockBytes = 0
  package var hostBlocks = 0
  package var hostBlocksUsed = 0
  /// Blocks that somebody reads or writes now.
  package var hostBlocksPinned = 0
  package var hostEvictions = 0
  /// Copies that found no place.
  package var allocationFailures = 0

  // MARK: Files

  /// `healthy`, `read-only` or `off`; nil without files.
  package var fileState: String?
  package var fileBlocks = 0
  package var fileBytes = 0
  package var fileCapacityBytes = 0
  package var fileEvictions = 0
  /// Blocks of files or host memory that were not what they must be, and other misses of what was thought to be there, by
  /// reason.
  package var verifyFailures: [String: Int] = [:]
  /// Blocks that were to go to files and did not.
  package var spillsDropped = 0

  // MARK: Movement

  /// Bytes from the device to the host, from the host to files, and back.
  package var deviceToHostBytes = 0
  package var hostToFileBytes = 0
  package var fileToHostBytes = 0
  package var hostToDeviceBytes = 0
  /// Of the first and the last, those of preempted sequences.
  package var swapOutBytes = 0
  package var swapInBytes = 0
  /// Seconds spent on copies to and from the host, and on transfers to and from files.
  package var storeSeconds = 0.0
  package var loadSeconds = 0.0
  /// Seconds from asking for a block of a tier until it was there, by `Source`.
  package var reloadSeconds = [CountedValues](repeating: CountedValues(bounds: CountedValues.seconds), count: 2)
  /// Bytes of each copy back to the device and of each copy out of it, a step's together.
  package var loadSizes = CountedValues(bounds: CountedValues.bytes)
  package var storeSizes = CountedValues(bounds: CountedValues.bytes)
  /// Seconds of a look-up in the tables, and until a sequence knew all its blocks.
  package var lookupSeconds = CountedValues(bounds: CountedValues.lookup)
  package var arrivalSeconds = CountedValues(bounds: CountedValues.arrival)

  // MARK: Prefixes

  /// Prompt tokens asked of the tiers, and found there, by `Source`.
  package var queriedTokens = 0
  package var hitTokens = [0, 0]

  package init() {}
}

/// Observations counted by upper bound.
package struct CountedValues: Sendable, Hashable {
  /// Ascending, without the implied infinity.
  package let bounds: [Double]
  /// One more than bounds; not cumulative.
  package private(set) var counts: [Int]
  package private(set) var sum = 0.0

  package init(bounds: [Double]) {
    self.bounds = bounds
    counts = Array(repeating: 0, count: bounds.count + 1)
  }

  package mutating func add(_ value: Double) {
    counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
    sum += value
  }

  package var count: Int { counts.reduce(0, +) }

  package static let seconds: [Double] = [
    1e-5, 5e-5, 1e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  ]
  package static let bytes: [Double] = [1e6, 5e6, 1e7, 2e7, 4e7, 6e7, 8e7, 1e8, 1.5e8, 2e8]
  package static let lookup: [Double] = [1e-5, 5e-5, 1e-4, 5e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1]
  package static let arrival: [Double] = [1e-4, 5e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]
}
