/// What the ranks of a model told each other and hold. Counters only grow.
package struct RankTraffic: Sendable, Hashable {
  /// One rank.
  package struct Rank: Sendable, Hashable {
    /// Bytes that its device has handed out: weights, keys and values, activations. Constant after the start.
    package var memoryBytes = 0
    /// Of these, keys and values.
    package var kvBytes = 0
    /// Sums that it sent to the tensor ranks beside it, and residual rows that it got from the stage before.
    package var tensorBytes = 0
    package var stageBytes = 0
    /// Over its links to data workers, both ways, and the layers that these answered.
    package var dataBytes = 0
    package var exchanges = 0

    package init() {}
  }

  /// Steps that rank 0 sent to all others.
  package var plans = 0
  /// [ranks] rank 0 as it is now, the others as they last said.
  package var ranks: [Rank] = []

  package init() {}
}
