import CAllocationCounter
import SwerveTiers
import Testing

/// What the engine thread calls in a step allocates nothing.
@Suite struct AllocationTests {
  #if DEBUG
    private static let isOptimized = false
  #else
    private static let isOptimized = true
  #endif

  /// A store that does nothing: what is counted is the submitter's side.
  private struct EmptyStore: BlockStore {
    func store(
      _ identity: BlockIdentity, from bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool
    ) -> StoreOutcome { .present }
    func load(_ identity: BlockIdentity, into bytes: UnsafeMutableRawBufferPointer) -> LoadOutcome {
      .hit(isLossy: false)
    }
  }

  @Test(.enabled(if: isOptimized && allocation_count() >= 0, "unoptimised code boxes temporaries; only Linux counts"))
  func findingPinningAndSubmittingAllocateNothing() throws {
    let host = try HostTier(blockBytes: 256, capacityBytes: 64 * 4096)
    let lane = TransferLane(store: EmptyStore())
    let identities = (0..<128).map { block($0) }
    var completions: [TransferCompletion] = []
    completions.reserveCapacity(1024)
    var ended = 0
    func round() {
      for (number, identity) in identities.enumerated() {
        guard case .reserved(let slot) = host.reserve(identity, reloadCost: 1), let memory = host.memory(of: slot)
        else {
          Issue.record("no place")
          return
        }
        host.seal(slot)
        if lane.submit(.spill(TransferID(rawValue: UInt64(number)), identity, from: memory, reloadCost: 1)) != nil {
          Issue.record("refused")
        }
        host.unpin(slot)
        _ = host.find(identity)
      }
      ended = 0
      while ended < identities.count {
        lane.takeCompletions(into: &completions)
        ended += completions.count
      }
    }
    for _ in 0..<3 { round() }
    let before = allocation_count()
    for _ in 0..<20 { round() }
    #expect(allocation_count() == before)
    #expect(host.violation() == nil && host.statistics.evictions > 1000)
    #expect(lane.shutDown(.drain, within: 30))
  }
}
