// Files of a model: bytes in memory, wherever they came from (a folder, or the binary itself).
// This room maps and names bytes; it must not interpret them. Start with ModelFiles.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Read-only bytes that live as long as this object: a memory-mapped file, or memory of the binary itself.
///
/// Mapping costs no read; pages come in when touched and stay shared with the page cache. A file that another process
/// truncates while it is mapped raises SIGBUS on access, as everywhere.
///
/// `@unchecked Sendable` holds because the memory is only read and no field changes after `init`.
public final class FileBytes: @unchecked Sendable {
  /// The bytes without an owner: valid only while the caller holds this object where the optimiser cannot end its life
  /// early (a stored property of something in use). Everyone else uses `withBytes`.
  package let unownedBytes: UnsafeRawBufferPointer
  private let isMapped: Bool
  /// Whether dropped pages would come back from a file.
  private let isFileBacked: Bool

  public var count: Int { unownedBytes.count }

  /// Calls `body` with the bytes; they stay mapped until it returns, and must not be used afterwards.
  public func withBytes<Value, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
  ) throws(Failure) -> Value {
    defer { withExtendedLifetime(self) {} }
    return try body(unownedBytes)
  }

  /// Maps the file at `path`. Throws a sentence that names the file and the reason.
  public init(mapping path: String) throws(FileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(path: path, reason: String(cString: strerror(errno))) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError(path: path, reason: String(cString: strerror(errno))) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(path: path, reason: "not a regular file") }
    let length = Int(status.st_size)
    guard length > 0 else {
      self.unownedBytes = UnsafeRawBufferPointer(start: nil, count: 0)
      self.isMapped = false
      self.isFileBacked = false
      return
    }
    guard let start = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
      throw FileError(path: path, reason: String(cString: strerror(errno)))
    }
    self.unownedBytes = UnsafeRawBufferPointer(start: start, count: length)
    self.isMapped = true
    self.isFileBacked = true
  }

  /// Wraps memory that is never freed. `isFileBacked` says that it is part of a mapped file, as the binary's read-only
  /// data is.
  public init(immortal buffer: UnsafeRawBufferPointer, isFileBacked: Bool = false) {
    self.unownedBytes = buffer
    self.isMapped = false
    self.isFileBacked = isFileBacked
  }

  deinit {
    if isMapped { munmap(UnsafeMutableRawPointer(mutating: unownedBytes.baseAddress), unownedBytes.count) }
  }

  /// Tells the kernel that all of the file will be read soon and again and again: it reads ahead what is not in memory,
  /// and maps large pages where the file system has them. Returns at once.
  public func willBeRead() {
    guard isMapped else { return }
    let start = UnsafeMutableRawPointer(mutating: unownedBytes.baseAddress)
    madvise(start, unownedBytes.count, MADV_WILLNEED)
    #if os(Linux)
      madvise(start, unownedBytes.count, MADV_HUGEPAGE)
    #endif
  }

  /// Tells the kernel not to read ahead: few bytes will be read, at places that do not follow from one another.
  public func willBeReadHereAndThere() {
    guard isMapped else { return }
    madvise(UnsafeMutableRawPointer(mutating: unownedBytes.baseAddress), unownedBytes.count, MADV_RANDOM)
  }

  /// Tells the kernel that these pages will not be read again, so that resident memory does not hold a second copy of
  /// weights that were packed. Only whole pages inside `range`, and only those of a file, are dropped; reading
  /// them again is correct, and slow.
  public func dropPages(in range: Range<Int>) {
    guard isFileBacked, let base = unownedBytes.baseAddress else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let first = (Int(bitPattern: base) + range.lowerBound + page - 1) / page * page
    let last = (Int(bitPattern: base) + range.upperBound) / page * page
    if last > first { madvise(UnsafeMutableRawPointer(bitPattern: first), last - first, MADV_DONTNEED) }
  }
}

/// A file that cannot be read: which one and why.
public struct FileError: Error, Equatable, CustomStringConvertible {
  public var path: String
  public var reason: String

  public var description: String { "cannot read \(path): \(reason)" }
}
