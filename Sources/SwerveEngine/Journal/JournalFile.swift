import SwerveCore
import SwerveHardware
import SwerveTiers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The journal's bytes: a header, then frames, each with its length and a checksum. What a crash cut short, or a disk
/// damaged, ends the reading: everything before it counts.
///
/// With a key each frame's content is sealed (AES-256-GCM), bound to its place, so that frames cannot be exchanged.
final class JournalFile {
  static let name = "requests.journal"
  /// `SWJ`, version, whether frames are sealed.
  private static func header(isSealed: Bool) -> [UInt8] { [0x53, 0x57, 0x4A, 1, isSealed ? 1 : 0, 0, 0, 0] }
  /// Length and checksum: 4 + 8 bytes.
  private static let frameHeader = 12
  private static let longestFrame = 64 << 20

  let path: String
  private let seal: RecordSeal?
  private var descriptor: Int32
  /// Frames so far.
  private(set) var count: UInt64 = 0
  private(set) var byteCount = 0

  /// A new file in place of the one at `path`, with these records; nobody sees it before it is whole.
  ///
  /// - Throws: a sentence with the system's reason.
  init(path: String, seal: RecordSeal?, records: [JournalRecord]) throws(JournalError) {
    self.path = path
    self.seal = seal
    let temporary = path + ".new"
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw .system("cannot be written", path: path, code: errno) }
    // The file may have been there, with another mode.
    _ = fchmod(descriptor, 0o600)
    var bytes = Self.header(isSealed: seal != nil)
    for record in records { frame(record, into: &bytes) }
    try add(bytes)
    guard fdatasync(descriptor) == 0, rename(temporary, path) == 0 else {
      throw .system("cannot be written", path: path, code: errno)
    }
  }

  /// The file at `path`, behind its last record.
  ///
  /// - Parameters:
  ///   - count: records there are.
  ///   - byteCount: and their bytes.
  init(continuing path: String, seal: RecordSeal?, count: UInt64, byteCount: Int) throws(JournalError) {
    self.path = path
    self.seal = seal
    self.count = count
    self.byteCount = byteCount
    descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw .system("cannot be written", path: path, code: errno) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Appends records in one write. After an error nothing more is to be written: the end may be half a frame.
  func append(_ records: [JournalRecord]) throws(JournalError) {
    var bytes: [UInt8] = []
    for record in records { frame(record, into: &bytes) }
    try add(bytes)
  }

  /// For tests: what is written goes to another file.
  func divert(to other: String) {
    let opened = open(other, O_WRONLY | O_CLOEXEC)
    if opened < 0 { return }
    close(descriptor)
    descriptor = opened
  }

  /// Has the system bring to the disk what was written.
  func sync() throws(JournalError) {
    if fdatasync(descriptor) != 0 { throw .system("cannot be written", path: path, code: errno) }
  }

  private func frame(_ record: JournalRecord, into bytes: inout [UInt8]) {
    var content = record.json.bytes
    if let seal { content = seal.seal(content, number: count) }
    count += 1
    for shift in stride(from: 0, to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: content.count >> shift)) }
    let checksum = content.withUnsafeBytes { Checksum.of($0) }
    for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: checksum >> UInt64(shift))) }
    bytes += content
  }

  private func add(_ bytes: [UInt8]) throws(JournalError) {
    var done = 0
    while done < bytes.count {
      let written = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw .system("cannot be written", path: path, code: written < 0 ? errno : ENOSPC) }
      done += written
    }
    byteCount += bytes.count
  }

  // MARK: Reading

  /// All whole records of a file, in order; none where there is no file.
  ///
  /// - Throws: for a file that is none of ours, of another version, or sealed with another key.
  static func records(path: String, seal: RecordSeal?) throws(JournalError) -> [JournalRecord] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    if descriptor < 0 && errno == ENOENT { return [] }
    guard descriptor >= 0 else { throw .system("cannot be read", path: path, code: errno) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = piece.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw .system("cannot be read", path: path, code: errno) }
      if count == 0 { break }
      bytes += piece[..<count]
    }
    if bytes.count < 8 { return [] }
    guard bytes[..<4].elementsEqual(header(isSealed: false)[..<4]) else { throw .foreign(path: path) }
    guard (bytes[4] == 1) == (seal != nil) else { throw .key(path: path, isSealed: bytes[4] == 1) }
    return try frames(bytes, path: path, seal: seal)
  }

  private static func frames(
    _ bytes: [UInt8], path: String, seal: RecordSeal?
  ) throws(JournalError) -> [JournalRecord] {
    var records: [JournalRecord] = []
    var at = 8
    var count: UInt64 = 0
    func number(_ offset: Int, _ width: Int) -> UInt64 {
      (0..<width).reduce(0) { $0 | UInt64(bytes[at + offset + $1]) << UInt64(8 * $1) }
    }
    while bytes.count - at >= frameHeader {
      let length = Int(number(0, 4))
      let checksum = number(4, 8)
      guard length <= longestFrame, length <= bytes.count - at - frameHeader else { break }
      var content = Array(bytes[(at + frameHeader)..<(at + frameHeader + length)])
      guard content.withUnsafeBytes({ Checksum.of($0) }) == checksum else { break }
      at += frameHeader + length
      if let seal {
        guard let plain = seal.open(content, number: count) else {
          if count == 0 { throw .key(path: path, isSealed: true) }
          break
        }
        content = plain
      }
      count += 1
      // A kind that this version does not know is nothing to stop at.
      if let json = try? JSON(parsing: content), let record = JournalRecord(json) { records.append(record) }
    }
    return records
  }
}

/// Why there is no journal, in one sentence.
package enum JournalError: Error, Hashable, CustomStringConvertible {
  case system(String, path: String, code: Int32)
  case inUse(path: String)
  case foreign(path: String)
  case key(path: String, isSealed: Bool)

  package var description: String {
    switch self {
    case .system(let what, let path, let code):
      "--journal: \(path) \(what) (\(String(cString: strerror(code)))); give a folder that this process may write to"
    case .inUse(let path):
      "--journal: \(path) belongs to another running server; give each server a folder of its own"
    case .foreign(let path):
      "--journal: \(path) is no journal of this version; give another folder, or remove the file"
    case .key(let path, let isSealed):
      isSealed
        ? "--journal: \(path) is sealed with another key; give its --kv-key-file, or another folder"
        : "--journal: \(path) was written without --kv-key-file; give another folder, or leave the key out"
    }
  }
}
