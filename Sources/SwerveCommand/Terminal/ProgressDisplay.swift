import Synchronization

/// Progress of long work on standard error: download, loading, batches, benchmarks. May be updated from any task, as
/// often as one likes. Start it, update it, finish it.
package final class ProgressDisplay: Sendable {
  private let state: Mutex<ProgressRenderer>
  private let console: Console

  package init(_ label: String, unit: ProgressRenderer.Unit, console: Console) {
    self.console = console
    state = Mutex(ProgressRenderer(label: label, unit: unit, columns: console.columns))
  }

  /// `total` 0 = not known.
  package func update(done: Int, total: Int) {
    state.withLock { renderer in
      let text = renderer.update(done: done, total: total, now: Clock.now())
      if !text.isEmpty { console.writeError(text) }
    }
  }

  /// Share of the work, 0…1.
  package func update(fraction: Double) { update(done: Int(max(0, min(1, fraction)) * 1000), total: 1000) }

  package func finish() {
    state.withLock { renderer in
      let text = renderer.finish()
      if !text.isEmpty { console.writeError(text) }
    }
  }
}
