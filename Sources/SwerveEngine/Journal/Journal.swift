// The request journal: what of each request is known and was delivered, on disk, so that a server that was killed goes on
// with what its clients ask for again. Start with JournaledEngine; this file is what it knows, JournalFile the bytes.
// It must not know HTTP, and must never make a step or a client wait.

package import SwerveCore
package import SwerveTiers
import SwerveTransfer
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What is known of requests, in memory and, written by a thread of its own, in a file.
///
/// Each batch of records is one write, at once: what was written survives this process. Once a second the system is asked
/// to bring it to the disk: the last second may be lost with the machine. A disk that fails, or is too slow for what comes,
/// turns the journal off, with a notice; serving goes on.
package final class Journal: Sendable {
  struct Entry: Sendable {
    var begin: JournalBegin
    var events: [GenerationEvent] = []
    var isFinished = false
    /// The run that adds to it now; nil: none does.
    var run: UInt64?
    /// Unix time of the last event.
    var time: Int
  }

  private struct State {
    var entries: [JournalKey: Entry] = [:]
    var nextRun: UInt64 = 1
    /// Records that the thread has not taken.
    var queued = 0
    var isOff = false
    var isStopped = false
    /// For tests.
    var failsWrites = false
    var writtenBytes = 0
    var resumed = 0
    var replayed = 0
  }

  /// What is known of a request that somebody wants to begin.
  enum Standing: Sendable {
    /// Known with another content.
    case differs
    /// Another connection has it.
    case runs
    case isFinished([GenerationEvent])
    /// May go on from these events, none for a new one.
    case begins(Run, events: [GenerationEvent])
  }

  /// One go at a request.
  struct Run: Sendable {
    let key: JournalKey
    let number: UInt64
    let seed: Int
  }

  private static let mostQueued = 1 << 18
  private static let mostFinished = 10_000
  private static let compactionBytes = 64 << 20

  private let state = Mutex(State())
  private let mailbox = Mailbox<JournalRecord>()
  private let ended = ThreadEnd(threads: 1)
  private let seconds: Int
  private let onNotice: @Sendable (String) -> Void
  private let clock: @Sendable () -> Int
  /// Held as long as this lives: one process a folder.
  private let lock: Int32

  /// Opens the journal of a folder, which is made where it is missing, and starts to write.
  ///
  /// - Parameters:
  ///   - master: seals what is written; nil: it is readable, by this user.
  ///   - seconds: how long a request is known after its last event.
  ///   - clock: Unix time.
  package init(
    folder: String, master: MasterKey?, seconds: Int, clock: @escaping @Sendable () -> Int = { time(nil) },
    onNotice: @escaping @Sendable (String) -> Void
  ) throws(JournalError) {
    self.seconds = seconds
    self.onNotice = onNotice
    self.clock = clock
    if mkdir(folder, 0o700) != 0 && errno != EEXIST {
      throw .system("cannot be made", path: folder, code: errno)
    }
    lock = open(folder + "/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard lock >= 0 else { throw .system("cannot be used", path: folder, code: errno) }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      throw .system("belongs to another running server", path: folder, code: errno)
    }
    let path = folder + "/" + JournalFile.name
    let seal = master.map { RecordSeal($0, purpose: "swerve request journal") }
    var entries = Self.entries(try JournalFile.records(path: path, seal: seal))
    Self.expire(&entries, before: clock() - seconds)
    let known = entries
    let (count, byteCount) = try Self.rewrite(path, seal, known)
    state.withLock { $0.entries = known }
    startThread("swerve-journal") { [self] in
      do throws(JournalError) {
        write(try JournalFile(continuing: path, seal: seal, count: count, byteCount: byteCount), seal: seal)
      } catch {
        turnOff("\(error)")
      }
      ended.threadEnded()
    }
  }

  deinit { if lock >= 0 { close(lock) } }

  private static func rewrite(
    _ path: String, _ seal: RecordSeal?, _ entries: [JournalKey: Entry]
  ) throws(JournalError) -> (count: UInt64, byteCount: Int) {
    let file = try JournalFile(path: path, seal: seal, records: records(entries))
    return (file.count, file.byteCount)
  }

  /// Writes what is left and ends the thread.
  package func stop() async {
    state.withLock { $0.isStopped = true }
    await ended.wait()
  }

  /// For tests: from now on the disk is full.
  package func failWrites() { state.withLock { $0.failsWrites = true } }

  package var statistics: JournalStatistics {
    state.withLock {
      JournalStatistics(
        isOn: !$0.isOff, writtenBytes: $0.writtenBytes, requests: $0.entries.count, resumed: $0.resumed,
        replayed: $0.replayed)
    }
  }

  // MARK: Requests

  /// Begins a request, or goes on with it where a client asks again for one that is known.
  ///
  /// - Parameters:
  ///   - isRepeat: whether the client named the request itself; then what is known of it counts.
  ///   - seed: the client's.
  func begin(_ key: JournalKey, digest: String, isRepeat: Bool, seed: Int?) -> Standing {
    let now = clock()
    return state.withLock { state in
      let number = state.nextRun
      state.nextRun += 1
      if isRepeat, let known = state.entries[key], known.time >= now - seconds {
        if known.begin.digest != digest { return .differs }
        if known.run != nil { return .runs }
        if known.isFinished {
          state.replayed += 1
          return .isFinished(known.events)
        }
        state.entries[key]?.run = number
        state.resumed += 1
        return .begins(Run(key: key, number: number, seed: known.begin.seed), events: known.events)
      }
      let drawn = seed ?? Int.random(in: 0...Int(Int32.max))
      var entry = Entry(begin: JournalBegin(key: key, digest: digest, seed: drawn, time: now), time: now)
      entry.run = number
      state.entries[key] = entry
      return .begins(Run(key: key, number: number, seed: drawn), events: [])
    }
  }

  /// The engine took the request. `keepsEvents`: it goes on behind those that are known.
  func start(_ run: Run, keepsEvents: Bool) {
    change(run) { entry in
      if keepsEvents { return nil }
      entry.events = []
      return .begins(entry.begin)
    }
  }

  func append(_ event: GenerationEvent, to run: Run) {
    let now = clock()
    change(run) { entry in
      entry.events.append(event)
      entry.time = now
      return .event(key: run.key, event)
    }
  }

  /// The answer is whole.
  func finish(_ run: Run) {
    change(run) { entry in
      entry.isFinished = true
      entry.run = nil
      return .ends(key: run.key)
    }
  }

  /// The run ends without an answer; another one may go on.
  func release(_ run: Run) {
    state.withLock { state in
      guard state.entries[run.key]?.run == run.number else { return }
      state.entries[run.key]?.run = nil
      // Nothing was written of it.
      if state.entries[run.key]?.events.isEmpty == true { state.entries[run.key] = nil }
    }
  }

  private func change(_ run: Run, _ body: (inout Entry) -> JournalRecord?) {
    let problem: String? = state.withLock { state in
      guard var entry = state.entries[run.key], entry.run == run.number else { return nil }
      // Held once: the list of events is not copied.
      state.entries[run.key] = nil
      let record = body(&entry)
      state.entries[run.key] = entry
      guard let record, !state.isOff, !state.isStopped else { return nil }
      if state.queued >= Self.mostQueued {
        state.isOff = true
        return "the disk is too slow for what is to be written"
      }
      state.queued += 1
      mailbox.post(record)
      return nil
    }
    if let problem { tell(problem) }
  }

  private func turnOff(_ problem: String) {
    let isFirst = state.withLock { state in
      defer { state.isOff = true }
      return !state.isOff
    }
    if isFirst { tell(problem) }
  }

  private func tell(_ problem: String) {
    onNotice("the request journal is off, requests that are killed with this server cannot be resumed: \(problem)")
  }

  // MARK: Writing

  /// The thread's life.
  private func write(_ first: JournalFile, seal: RecordSeal?) {
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

  // MARK: Records

  private static func entries(_ records: [JournalRecord]) -> [JournalKey: Entry] {
    var entries: [JournalKey: Entry] = [:]
    for record in records {
      switch record {
      case .begins(let begin): entries[begin.key] = Entry(begin: begin, time: begin.time)
      case .event(let key, let event): entries[key]?.events.append(event)
      case .ends(let key): entries[key]?.isFinished = true
      }
    }
    return entries
  }

  private static func records(_ entries: [JournalKey: Entry]) -> [JournalRecord] {
    var records: [JournalRecord] = []
    for (key, entry) in entries {
      var begin = entry.begin
      begin.time = entry.time
      records.append(.begins(begin))
      for event in entry.events { records.append(.event(key: key, event)) }
      if entry.isFinished { records.append(.ends(key: key)) }
    }
    return records
  }

  /// Forgets what is old, and of what is finished all but the latest.
  private static func expire(_ entries: inout [JournalKey: Entry], before time: Int) {
    for (key, entry) in entries where entry.run == nil && entry.time < time { entries[key] = nil }
    let finished = entries.filter { $0.value.isFinished }
    guard finished.count > mostFinished else { return }
    for (key, _) in finished.sorted(by: { $0.value.time < $1.value.time }).prefix(finished.count - mostFinished) {
      entries[key] = nil
    }
  }
}
