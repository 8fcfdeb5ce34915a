import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Sealed blocks in files: each encrypted under its tenant's key, found again after a restart.
///
/// A file that is damaged, cut short, of another model, block, tenant or key is a miss and never data: the header and the
/// payload are authenticated together, and the payload says which block it is. Nothing in a file or its name tells the
/// block's tokens without the key.
///
/// May be used by several threads at once. `contains` is a table look-up and a keyed hash (about 2 µs) and never touches
/// the disk; `load` and `store` wait for it, so they belong on a `TransferLane`. When the disk is full or fails the tier
/// stops writing, then stops altogether (`TierHealth`), and its users see refusals and misses.
package final class FileTier: BlockStore {
  struct State {
    var index: FileIndex
    var health: TierHealth
    var statistics = Statistics()
    /// Of the next block written.
    var nextGeneration: UInt64
    /// Blocks of a lower generation are stale: `removeAll` has happened since.
    var floor: UInt64
    var scratch: [ScratchMemory] = []
  }

  package struct Statistics: Sendable, Hashable {
    package var hits = 0
    package var misses = 0
    /// Files whose content was not what it must be, by reason; each was a miss too.
    package var verifyFailures: [MissReason: Int] = [:]
    package var insertions = 0
    package var evictions = 0
    package var refusals = 0
    package var readFailures = 0
    package var writeFailures = 0
    package var bytesRead = 0
    package var bytesWritten = 0
    /// Files found at start: usable ones, and those of another model or key, which are evicted first.
    package var found = 0
    package var foreign = 0
    /// Files and temporaries removed at start: unreadable, stale, or sealed with a key that has ended.
    package var removedAtStart = 0
  }

  package let configuration: FileTierConfiguration
  let files: any BlockFileSystem
  let keys: KeyRing
  let clock: @Sendable () -> Double
  let state: Mutex<State>
  private let lock: FolderLock?

  /// Opens the folder, making it if need be: locks it, reads all keys, and rebuilds the index from the files' headers on
  /// `threads` threads (100,000 files: about a second when the folder is in the page cache).
  ///
  /// Throws when the configuration does not fit, the folder cannot be used or another process holds it.
  /// `clock`: seconds that never go back.
  package init(
    _ configuration: FileTierConfiguration, master: MasterKey, files: any BlockFileSystem = PosixFileSystem(),
    clock: @escaping @Sendable () -> Double = monotonicSeconds
  ) throws {
    try configuration.validate()
    self.configuration = configuration
    self.files = files
    self.clock = clock
    let folder = configuration.folder
    do throws(FileFailure) {
      if !configuration.isReadOnly {
        for name in ["", "/blocks", "/incoming"] { try files.makeFolder(folder + name) }
        for byte in 0..<256 { try files.makeFolder(Self.folder(folder, of: UInt8(byte))) }
      }
    } catch { throw Self.unusable(folder, error) }
    lock = configuration.isReadOnly ? nil : try FolderLock(folder)
    do throws(FileFailure) {
      keys = try KeyRing(
        folder: folder + "/keys", master: master, files: files, isReadOnly: configuration.isReadOnly)
    } catch { throw Self.unusable(folder + "/keys", error) }
    let limits = TierHealth.Limits(slowSeconds: configuration.slowSeconds, firstPause: configuration.retrySeconds)
    let scan = try FolderScan(configuration: configuration, files: files, keyIDs: keys.keyIDs).run()
    var index = FileIndex(
      capacityBytes: configuration.isReadOnly ? .max : configuration.capacityBytes, policy: configuration.policy)
    for entry in scan.entries { index.add(entry) }
    let victims = index.shrink()
    var statistics = Statistics()
    statistics.found = scan.entries.count - scan.foreignCount
    statistics.foreign = scan.foreignCount
    statistics.removedAtStart = scan.removedCount
    state = Mutex(
      State(
        index: index, health: TierHealth(limits: limits, isFixedReadOnly: configuration.isReadOnly),
        statistics: statistics, nextGeneration: scan.nextGeneration, floor: scan.floor))
    unlink(victims)
  }

  package var healthState: TierState { state.withLock { $0.health.state } }
  package var usedBytes: Int { state.withLock { $0.index.usedBytes } }
  package var blockCount: Int { state.withLock { $0.index.count } }

  package var statistics: Statistics {
    state.withLock { state in
      var statistics = state.statistics
      statistics.evictions = state.index.evictions
      return statistics
    }
  }

  /// Gives the folder back before this object's end. Nothing may be stored or loaded afterwards.
  package func close() { lock?.release() }

  /// Whether a file of this name is known: it may still turn out to be damaged.
  package func contains(_ identity: BlockIdentity) -> Bool {
    guard let key = keys.key(of: identity.scope.tenant) else { return false }
    let name = key.name(of: identity)
    return state.withLock { $0.health.mayRead && $0.index.entry(name) != nil }
  }

  /// Forgets a block and removes its file.
  package func remove(_ identity: BlockIdentity) {
    guard !configuration.isReadOnly, let key = keys.key(of: identity.scope.tenant) else { return }
    let name = key.name(of: identity)
    let isGone = state.withLock { state in
      guard let entry = state.index.entry(name) else { return false }
      return state.index.remove(name, generation: entry.generation)
    }
    if isGone { unlink([name]) }
  }

  /// Makes every block stale, also those whose files a crash keeps from being removed, and removes the files.
  package func removeAll() throws {
    if configuration.isReadOnly { return }
    let floor = state.withLock { state in
      state.floor = state.nextGeneration
      return state.floor
    }
    let path = configuration.folder + "/floor"
    var text = Array(String(floor).utf8)
    text.append(10)
    var failure: FileFailure?
    text.withUnsafeBytes { bytes in
      do throws(FileFailure) {
        try files.replace(path, temporary: configuration.folder + "/incoming/floor", synchronizes: true, bytes)
        try files.synchronizeFolder(configuration.folder)
      } catch { failure = error }
    }
    unlink(state.withLock { $0.index.removeAll { $0.generation < floor } })
    if let failure { throw Self.unusable(path, failure) }
  }

  /// Destroys a tenant's key: none of its blocks can be read again, wherever copies of their files are. Then removes
  /// the files.
  package func destroyKey(of tenant: TenantID) throws {
    if configuration.isReadOnly { return }
    let id: ShortDigest?
    do throws(FileFailure) { id = try keys.destroy(tenant) } catch {
      throw Self.unusable(configuration.folder + "/keys", error)
    }
    guard let id else { return }
    unlink(state.withLock { $0.index.removeAll { $0.keyID == id } })
  }

  /// What does not add up, or nil. O(files): for tests and idle time.
  package func violation() -> String? { state.withLock { $0.index.violation() } }

  // MARK: Names

  static func folder(_ folder: String, of byte: UInt8) -> String {
    let digits = [hexadecimalDigit(byte >> 4), hexadecimalDigit(byte & 15)]
    return "\(folder)/blocks/\(String(decoding: digits, as: UTF8.self))"
  }

  /// blocks/first two digits/all digits.kv
  func path(_ name: ShortDigest) -> String {
    let digits = name.hexadecimal
    return "\(configuration.folder)/blocks/\(digits.prefix(2))/\(digits).kv"
  }

  /// Removes files that are no longer in the index. One that cannot be removed is found again at the next start.
  func unlink(_ names: [ShortDigest]) {
    if configuration.isReadOnly { return }
    for name in names {
      // Somebody may be writing the block anew: then the rename replaces the file, and removing it would lose the new one.
      if state.withLock({ $0.index.entry(name) != nil || $0.index.isWriting(name) }) { continue }
      try? files.remove(path(name))
    }
  }

  static func unusable(_ path: String, _ failure: FileFailure) -> TierError {
    .fileSystem(path: path, reason: String(cString: strerror(failure.code)))
  }

  // MARK: Scratch memory

  /// Memory of at least `byteCount`, kept for the next transfer.
  func withScratch<Value>(_ byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) -> Value) -> Value {
    let kept = state.withLock { $0.scratch.popLast() }
    let memory: ScratchMemory
    if let kept, kept.bytes.count >= byteCount { memory = kept } else { memory = ScratchMemory(byteCount: byteCount) }
    defer { state.withLock { if $0.scratch.count < 4 { $0.scratch.append(memory) } } }
    return body(UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<byteCount]))
  }
}

/// Memory that one transfer at a time uses.
///
/// `@unchecked Sendable` holds because whoever took it from the tier's list is its only holder until it is back.
final class ScratchMemory: @unchecked Sendable {
  let bytes: UnsafeMutableRawBufferPointer

  init(byteCount: Int) { bytes = .allocate(byteCount: byteCount, alignment: 4096) }

  deinit { bytes.deallocate() }
}

/// Seconds since some moment, never going back.
package func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
