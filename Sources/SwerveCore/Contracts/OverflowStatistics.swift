/// Blocks of running sequences below the device, at one moment, and what moved there since start.
package struct OverflowStatistics: Sendable, Hashable {
  // Gauges
  package var hostBlocks = 0
  package var hostBlocksUsed = 0
  package var storeBlocks = 0
  package var storeBlocksUsed = 0
  /// Sequences that waited for their turn at the store in the last step.
  package var parkedSequences = 0

  // Counters
  package var blocksToHost = 0
  package var blocksToStore = 0
  /// Sequences computed again because a block of theirs could not be read.
  package var recoveries = 0
  /// What the store itself has moved.
  package var traffic = OverflowTraffic()

  package init() {}
}
