import Dispatch
import Synchronization

/// Moves blocks between memory and a store on threads of its own.
///
/// `submit`, `cancel` and `takeCompletions` never wait for the store: they take a lock that is held for moments, so the
/// engine thread may call them in a step. Fetches go before spills, each kind in the order submitted; of
/// several threads the last one alone spills, so that a fetch never waits for a spill. Spills leave fetches their share of the
/// disk (`SpillPacer`). Transfers waiting are bounded by `capacity` of each kind; completions are not waited for by
/// anybody and bounded by the same number and the threads.
package final class TransferLane: Sendable {
  package struct Configuration: Sendable {
    /// While one opens what it read, others wait for the disk.
    package var threadCount = 4
    /// Most transfers of each kind that wait.
    package var capacity = 256
    /// Share of the disk's time that spills get while there are fetches.
    package var spillShare = 0.1
    /// Most bytes a second that spills write; nil: no cap.
    package var spillBytesPerSecond: Double?

    package init() {}
  }

  /// What happens to waiting transfers at the end.
  package enum Ending: Sendable, Hashable {
    /// They are carried out, spills without pauses.
    case drain
    /// They end as `abandoned`.
    case abandon
  }

  package struct Statistics: Sendable, Hashable {
    package var spillBandwidth = Bandwidth()
    package var fetchBandwidth = Bandwidth()
    package var spillsWaiting = 0
    package var fetchesWaiting = 0
    package var running = 0
    package var refusals = 0
  }

  private let core: LaneCore

  /// Starts the threads. `clock`: seconds that never go back.
  package init(
    store: any BlockStore, configuration: Configuration = Configuration(),
    clock: @escaping @Sendable () -> Double = monotonicSeconds
  ) {
    core = LaneCore(store: store, configuration: configuration, clock: clock)
    for worker in core.workers.indices {
      startLaneThread { [core] in core.run(worker) }
    }
  }

  /// Threads that are at work finish their transfer; everything else is abandoned.
  deinit { core.end(.abandon) }

  /// Nil when the transfer is accepted: then it has exactly one completion.
  @discardableResult
  package func submit(_ request: TransferRequest) -> TransferRefusal? { core.submit(request) }

  /// Takes a waiting transfer back; its completion says `cancelled`. False when it has begun or ended: then its own
  /// completion comes. O(transfers waiting)
  @discardableResult
  package func cancel(_ id: TransferID) -> Bool { core.cancel(id) }

  /// Moves all completions so far into `completions` (emptied first). The two arrays swap places, so that neither side
  /// allocates in steady state.
  package func takeCompletions(into completions: inout [TransferCompletion]) {
    core.takeCompletions(into: &completions)
  }

  package var statistics: Statistics { core.statistics }

  /// Accepts nothing any more and waits until the threads have ended, at most `seconds`; what a drain has not begun by
  /// then is abandoned. True when all transfers have their completions. False: a thread is stuck in the store; its
  /// memory must not be used again before its completion comes.
  package func shutDown(_ ending: Ending, within seconds: Double) -> Bool {
    core.end(ending)
    let deadline = DispatchTime.now() + seconds
    if core.waitForEnd(until: deadline) { return true }
    core.end(.abandon)
    // What was waiting has been abandoned; only a transfer at work can keep a thread.
    return core.waitForEnd(until: DispatchTime.now() + min(seconds, 0.1))
  }
}
