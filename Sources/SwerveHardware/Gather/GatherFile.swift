internal import CSwervePlatform

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A file as a source. Past the page cache, so that what was fetched does not stay in memory a second time; or out of it,
/// where all processes that serve the file share one copy.
package final class GatherFile: GatherSource {
  package enum Caching: Sendable {
    /// Reads go to the disk, directly where the file system can, else through the cache, which is emptied behind them.
    case bypassed
    /// Reads leave the file in the page cache.
    case kept
  }

  private let path: String
  private let caching: Caching
  private let descriptor: Int32
  /// −1 where reads go through the page cache.
  private let direct: Int32

  package init(path: String, caching: Caching) throws(GatherError) {
    self.path = path
    self.caching = caching
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw GatherError("\(path) cannot be read: \(Self.reason(errno))") }
    direct = caching == .bypassed ? swerve_file_open_direct(path) : -1
  }

  deinit {
    close(descriptor)
    if direct >= 0 { close(direct) }
  }

  package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int, needed: Int) throws(GatherError) {
    // A file system may allow to open a file so and not to read it.
    if direct >= 0, try fill(bytes, at: offset, needed: needed, from: direct) { return }
    _ = try fill(bytes, at: offset, needed: needed, from: descriptor)
    if caching == .bypassed { swerve_file_forget(descriptor, offset, bytes.count) }
  }

  /// False where the file cannot be read in this way.
  private func fill(
    _ bytes: UnsafeMutableRawBufferPointer, at offset: Int, needed: Int, from descriptor: Int32
  ) throws(GatherError) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    var done = 0
    while done < needed {
      let count = pread(descriptor, base + done, bytes.count - done, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EINVAL && descriptor == direct { return false }
        throw GatherError("\(path) cannot be read: \(Self.reason(errno))")
      }
      if count == 0 {
        throw GatherError("\(path) ends at byte \(offset + done), before what was to be read: it was cut while in use")
      }
      done += count
      // A direct read goes on at whole pages only.
      if done < needed && descriptor == direct && done % GatherItem.alignment != 0 { return false }
    }
    return true
  }

  private static func reason(_ number: Int32) -> String { String(cString: strerror(number)) }
}
