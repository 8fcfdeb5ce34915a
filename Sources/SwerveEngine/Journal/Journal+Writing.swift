import SwerveTiers
import SwerveTransfer
import Synchronization

/// The thread that writes.
extension Journal {
  /// The thread's life.
  func write(_ first: JournalFile, seal: RecordSeal?) {
    var file = first
    var records: [JournalRecord] = []
    var isDirty = false
    var nextSync = Int(TransferClock.now / 1_000_000_000) + 1
    var compacted = file.byteCount
    while true {
      let isStopped = state.withLock(\.isStopped)
      if isStopped { mailbox.take(into: &records, waits: false) } else { mailbox.take(into: &records, within: 0.25) }
      let taken = records.count
      state.withLock { $0.queued -= taken }
      do throws(JournalError) {
        if state.withLock(\.failsWrites) { file.divert(to: "/dev/full") }
        if !records.isEmpty {
          try file.append(records)
          isDirty = true
        }
        let now = Int(TransferClock.now / 1_000_000_000)
        if isDirty && (now >= nextSync || isStopped) {
          try file.sync()
          isDirty = false
          nextSync = now + 1
        }
        if file.byteCount > max(Self.compactionBytes, 2 * compacted) {
          file = try JournalFile(path: file.path, seal: seal, records: live())
          compacted = file.byteCount
        }
      } catch {
        turnOff("\(error)")
      }
      let bytes = file.byteCount
      state.withLock { $0.writtenBytes = bytes }
      if isStopped || state.withLock(\.isOff) { return }
    }
  }

  /// All that is to be kept, as records; what waits to be written is among it.
  private func live() -> [JournalRecord] {
    state.withLock { state in
      var discarded: [JournalRecord] = []
      mailbox.take(into: &discarded, waits: false)
      state.queued -= discarded.count
      Self.expire(&state.entries, before: clock() - seconds)
      return Self.records(state.entries)
    }
  }
}
