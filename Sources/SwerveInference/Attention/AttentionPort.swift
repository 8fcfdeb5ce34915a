// The seam between parameters and data: attention over keys and values, wherever those lie.
// This room holds no weight and knows no model file; nothing here may change a number by where it runs.
// Start with the protocol below, then LocalAttention.

package import SwerveCore
package import SwerveHardware

/// Attention as the decoder pass sees it. Rows at this seam are of the run's activation type in every topology, so that
/// rounding is the same whether attention runs on the same threads or on another host.
///
/// For each step: `begin`, then for each layer and micro-batch `submit` and later `result`, then `end`. Micro-batches
/// go through a layer in order, and the results of one are taken in the order in which its rows were submitted.
package protocol AttentionPort: AnyObject {
  /// Learns which rows belong to which sequence and where their blocks are. Valid until `end`.
  func begin(_ plan: borrowing StepPlan) throws -> StepHandle

  /// In how many micro-batches the step's rows should come so that attention to one goes on while others are
  /// computed; 1: all at once, which is all that a port without this can do.
  func microBatches(_ plan: borrowing StepPlan) -> Int

  /// The same as `begin(_:)` for a step that comes in micro-batches: `parts` are plans of its rows, in order, the
  /// first one with its copies.
  func begin(_ plan: borrowing StepPlan, parts: [StepPlan]) throws -> StepHandle

  /// Where the layer's rows may be written instead of being copied from elsewhere: q A [rows, Hq × d], k and v
  /// A [rows, Hkv × d], which are then what `submit` gets. nil: anywhere.
  func places(layer: Int, microbatch: Int, rows: Int) throws -> AttentionRows?

  /// The slots of the layer's rows, where keys and values are in this memory: who asks writes them there, while they are
  /// being made, and `submit` does not. nil: `submit` sees to it.
  func slots(layer: Int) -> KVSlots?

  /// Hands over the rows of one layer; does not wait. q A [rows, Hq × d], k and v A [rows, Hkv × d], rotated.
  /// The memory must stay unchanged until `result` of the same layer and micro-batch has returned.
  func submit(layer: Int, microbatch: Int, q: Tensor, k: Tensor, v: Tensor) throws

  /// Waits for the rows' attention output, A [rows, Hq × d], valid until the micro-batch's next `submit`, or the next
  /// `result` of another one.
  func result(layer: Int, microbatch: Int) throws -> Tensor

  /// Ends the step and tells which blocks changed their place.
  func end(_ handle: StepHandle) -> ResidencyChanges

  /// The blocks it attends over, to be copied between steps; nil: they cannot be reached from here.
  var blocks: (any BlockMemory)? { get }
}

/// A layer's rows on their way to attention.
package struct AttentionRows: Sendable {
  package var q: Tensor
  package var k: Tensor
  package var v: Tensor

  package init(q: Tensor, k: Tensor, v: Tensor) {
    self.q = q
    self.k = k
    self.v = v
  }
}

extension AttentionPort {
  package func places(layer: Int, microbatch: Int, rows: Int) throws -> AttentionRows? { nil }
  package func microBatches(_ plan: borrowing StepPlan) -> Int { 1 }

  package func begin(_ plan: borrowing StepPlan, parts: [StepPlan]) throws -> StepHandle {
    precondition(parts.count == 1, "this attention takes a step's rows all at once")
    return try begin(plan)
  }

  package func slots(layer: Int) -> KVSlots? { nil }
}

/// A step that has begun.
package struct StepHandle: Sendable, Hashable {
  package var plan: UInt64

  package init(plan: UInt64) { self.plan = plan }
}

/// What a step found out about where blocks are.
package struct ResidencyChanges: Sendable, Hashable {
  /// Sequences of the step, ascending, of which a block could not be read: their rows mean nothing.
  package var incomplete: [Int32] = []

  package init() {}
}
