// Blocks below the device, as numbers: which sequences' blocks are asked for, which of them came, what is to be moved.
// No bytes, no thread, no file, no clock of its own: the engine's loop carries the orders out and reports back.
// Start with TierOrders, then Scheduler+Tiers.

package import SwerveCore

/// How a scheduler uses blocks kept below the device. Constant for its life.
package struct TierRules: Sendable, Hashable {
  /// What happens to the blocks of a preempted sequence.
  package var preemption = PreemptionMode.auto
  /// Nanoseconds that a sequence waits for its blocks without any arriving, before it computes them.
  package var patience: UInt64 = 2_000_000_000
  /// Sequences whose blocks are asked for at a time. ≥ 1
  package var maxReads = 64

  package init() {}

  /// All problems, one sentence each.
  func problems() -> [String] {
    maxReads >= 1 ? [] : ["The scheduler's maxReads must be at least 1, not \(maxReads)."]
  }
}

/// What a sequence knows of its blocks below the device, while it waits and while it loads them.
///
/// Positions `first ..< ready` may be loaded now; those below `first` are the device's. Nothing comes at `end` or
/// behind it.
struct TierRead: Sendable, Hashable {
  /// Never used twice.
  let id: UInt64
  let first: Int32
  var ready: Int32
  var end = Int32.max
  /// The first position that went through a lower precision.
  var lossyFrom = Int32.max
  /// Whether more may come.
  var isOpen = true
  /// Whether more comes only when what is ready was loaded.
  var isStalled = false
  /// When `ready` last grew, or the sequence last loaded what was ready. Nanoseconds
  var progressed: UInt64
  /// When the sequence could first have been admitted without it; 0 = not yet. Nanoseconds
  var considered: UInt64 = 0
}

/// What the scheduler keeps about all reads, and what bringing a block back costs.
struct TierState {
  var orders = TierOrders()
  var nextRead: UInt64 = 0
  /// Reads that may still bring more.
  var openReads = 0
  /// Seconds to copy a block between device and host, and to compute a token; nil before anything was measured.
  var secondsPerBlock: Double?
  var secondsPerToken: Double?
}
