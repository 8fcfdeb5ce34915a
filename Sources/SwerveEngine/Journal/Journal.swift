// The request journal: what of each request is known and was delivered, on disk, so that a server that was killed goes on
// with what its clients ask for again. Start with JournaledEngine; this file is what it knows, JournalFile the bytes.
// It must not know HTTP, and must never make a step or a client wait.

package import SwerveCore
package import SwerveTiers
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

    /// The seed that its tokens came from; nil where nothing is known of one.
    var seed: Int? {
      if let seed = begin.seed { return seed }
      for case .started(let info) in events { return info.seed }
      return nil
    }
  }

  struct State {
    var entries: [JournalKey: Entry] = [:]
    var nextRun: UInt64 = 1
    /// Unix time.
    var nextExpiry = 0
    /// Records that the thread has not taken.
    var queued = 0
    var isOff = false
    var isStopped = false
    /// For tests.
    var failsWrites = false
    var writtenBytes = 0
    /// Descriptor that holds the folder's lock until the journal stops: one server a folder. −1: none.
    var lock: Int32 = -1
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
    /// nil: the engine draws one.
    let seed: Int?
  }

  private static let mostQueued = 1 << 18
  static let mostFinished = 10_000
  static let compactionBytes = 64 << 20
  private static let secondsBetweenExpiries = 10

  let state = Mutex(State())
  let mailbox = Mailbox<JournalRecord>()
  private let ended = ThreadEnd(threads: 1)
  let seconds: Int
  private let onNotice: @Sendable (String) -> Void
  let clock: @Sendable () -> Int

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
    let lock = open(folder + "/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard lock >= 0 else { throw .system("cannot be used", path: folder, code: errno) }
    state.withLock { $0.lock = lock }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { throw .inUse(path: folder) }
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

  deinit { unlock() }

  private func unlock() {
    let lock = state.withLock { state in
      defer { state.lock = -1 }
      return state.lock
    }
    if lock >= 0 { close(lock) }
  }

  private static func rewrite(
    _ path: String, _ seal: RecordSeal?, _ entries: [JournalKey: Entry]
  ) throws(JournalError) -> (count: UInt64, byteCount: Int) {
    let file = try JournalFile(path: path, seal: seal, records: records(entries))
    return (file.count, file.byteCount)
  }

  /// Writes what is left, ends the thread and leaves the folder to others.
  package func stop() async {
    state.withLock { $0.isStopped = true }
    await ended.wait()
    unlock()
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
      if now >= state.nextExpiry {
        Self.expire(&state.entries, before: now - seconds)
        state.nextExpiry = now + Self.secondsBetweenExpiries
      }
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
        return .begins(Run(key: key, number: number, seed: known.seed), events: known.events)
      }
      // Who named no request gets what a server without a journal gives.
      let drawn = seed ?? (isRepeat ? Int.random(in: 0...Int(Int32.max)) : nil)
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
      return .event(key: run.key, event, time: now)
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

  func turnOff(_ problem: String) {
    let isFirst = state.withLock { state in
      defer { state.isOff = true }
      return !state.isOff
    }
    if isFirst { tell(problem) }
  }

  private func tell(_ problem: String) {
    onNotice("the request journal is off, requests that are killed with this server cannot be resumed: \(problem)")
  }
}
