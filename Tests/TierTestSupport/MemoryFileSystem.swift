import Glibc
package import SwerveTiers
import Synchronization

/// Files in memory, with faults: each call may be made to fail, to be short, or to take time on a clock of its own.
package final class MemoryFileSystem: BlockFileSystem {
  package enum Call: Hashable, Sendable {
    case makeFolder, list, open, create, read, write, synchronize, touch, close, rename, remove
  }

  private struct State {
    var folders: Set<String> = []
    var files: [String: [UInt8]] = [:]
    var uses: [String: Int64] = [:]
    var open: [Int32: String] = [:]
    /// What was opened for reading, which others may replace or remove meanwhile.
    var reading: [Int32: [UInt8]] = [:]
    var nextDescriptor: Int32 = 3
    var time: Int64 = 1
    var seconds = 0.0
    var faults: [Call: Int32] = [:]
    var longestTransfer = Int.max
    var secondsPerCall: [Call: Double] = [:]
    var freeBytes = Int.max
  }

  private let state = Mutex(State())

  package init() {}

  /// The clock that slow calls move.
  package var clock: @Sendable () -> Double { { self.state.withLock { $0.seconds } } }
  package func advance(_ seconds: Double) { state.withLock { $0.seconds += seconds } }

  /// Makes every call of a kind fail with `code`, or none.
  package func fail(_ call: Call, with code: Int32?) { state.withLock { $0.faults[call] = code } }
  /// Every read and write moves at most so many bytes.
  package func limitTransfers(to count: Int) { state.withLock { $0.longestTransfer = count } }
  package func slow(_ call: Call, by seconds: Double?) { state.withLock { $0.secondsPerCall[call] = seconds } }
  /// Writes fail with ENOSPC, in the middle, when so many more bytes have been written.
  package func limitSpace(to count: Int) { state.withLock { $0.freeBytes = count } }

  package var paths: [String] { state.withLock { $0.files.keys.sorted() } }
  package var blockPaths: [String] { paths.filter { $0.hasSuffix(".kv") } }
  package var openCount: Int { state.withLock { $0.open.count } }
  package subscript(path: String) -> [UInt8]? {
    get { state.withLock { $0.files[path] } }
    set { state.withLock { $0.files[path] = newValue } }
  }

  private func perform<Value>(_ call: Call, _ body: (inout State) -> Result<Value, FileFailure>) throws(FileFailure)
    -> Value
  {
    try state.withLock { state -> Result<Value, FileFailure> in
      state.seconds += state.secondsPerCall[call] ?? 0
      if let code = state.faults[call] { return .failure(FileFailure(code: code)) }
      return body(&state)
    }.get()
  }

  package func makeFolder(_ path: String) throws(FileFailure) {
    try perform(.makeFolder) { state in
      state.folders.insert(path)
      return .success(())
    }
  }

  package func list(_ path: String) throws(FileFailure) -> [String] {
    try perform(.list) { state in
      if !state.folders.contains(path) { return .failure(FileFailure(code: ENOENT)) }
      let prefix = path + "/"
      return .success(
        state.files.keys.filter { $0.hasPrefix(prefix) && !$0.dropFirst(prefix.count).contains("/") }
          .map { String($0.dropFirst(prefix.count)) })
    }
  }

  package func openForReading(_ path: String) throws(FileFailure) -> OpenedFile {
    try perform(.open) { state in
      guard let bytes = state.files[path] else { return .failure(FileFailure(code: ENOENT)) }
      let descriptor = state.nextDescriptor
      state.nextDescriptor += 1
      state.open[descriptor] = path
      state.reading[descriptor] = bytes
      return .success(OpenedFile(descriptor: descriptor, byteCount: bytes.count, lastUse: state.uses[path] ?? 0))
    }
  }

  package func create(_ path: String) throws(FileFailure) -> Int32 {
    try perform(.create) { state in
      let descriptor = state.nextDescriptor
      state.nextDescriptor += 1
      state.open[descriptor] = path
      state.files[path] = []
      return .success(descriptor)
    }
  }

  package func read(
    _ descriptor: Int32, into bytes: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(FileFailure) -> Int {
    try perform(.read) { state in
      guard let content = state.reading[descriptor] else { return .failure(FileFailure(code: EBADF)) }
      let count = min(bytes.count, max(content.count - offset, 0), state.longestTransfer)
      if count > 0 { bytes.copyBytes(from: content[offset..<(offset + count)]) }
      return .success(count)
    }
  }

  package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(FileFailure) -> Int {
    try perform(.write) { state in
      guard let path = state.open[descriptor] else { return .failure(FileFailure(code: EBADF)) }
      let count = min(bytes.count, state.longestTransfer, state.freeBytes)
      if count == 0, bytes.count > 0 { return .failure(FileFailure(code: ENOSPC)) }
      if state.freeBytes != .max { state.freeBytes -= count }
      state.files[path, default: []] += bytes[..<count]
      state.time += 1
      state.uses[path] = state.time
      return .success(count)
    }
  }

  package func synchronize(_ descriptor: Int32) throws(FileFailure) { try perform(.synchronize) { _ in .success(()) } }
  package func synchronizeFolder(_ path: String) throws(FileFailure) { try perform(.synchronize) { _ in .success(()) } }

  package func touch(_ descriptor: Int32) throws(FileFailure) {
    try perform(.touch) { (state: inout State) -> Result<Void, FileFailure> in
      guard let path = state.open[descriptor] else { return .failure(FileFailure(code: EBADF)) }
      state.time += 1
      state.uses[path] = state.time
      return .success(())
    }
  }

  package func close(_ descriptor: Int32) throws(FileFailure) {
    state.withLock {
      $0.open[descriptor] = nil
      $0.reading[descriptor] = nil
    }
    try perform(.close) { _ in .success(()) }
  }

  package func rename(_ path: String, to target: String) throws(FileFailure) {
    try perform(.rename) { (state: inout State) -> Result<Void, FileFailure> in
      guard let bytes = state.files.removeValue(forKey: path) else { return .failure(FileFailure(code: ENOENT)) }
      state.files[target] = bytes
      state.uses[target] = state.uses.removeValue(forKey: path)
      return .success(())
    }
  }

  package func remove(_ path: String) throws(FileFailure) {
    try perform(.remove) { state in
      state.files.removeValue(forKey: path) == nil ? .failure(FileFailure(code: ENOENT)) : .success(())
    }
  }
}
