internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How fast a file can be read past the page cache, the way a ring reads it.
package enum DiskSpeed {
  /// Bytes a second, over `seconds` or the whole file, with as many reads under way as a ring has.
  ///
  /// - Throws: one sentence where the file cannot be read, or is too small to tell.
  package static func measure(path: String, seconds: Double) throws(GatherError) -> Double {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw GatherError("\(path) cannot be read: \(String(cString: strerror(errno)))")
    }
    let size = Int(status.st_size) / GatherItem.alignment * GatherItem.alignment
    guard size >= 1 << 20 else { throw GatherError("\(path) has less than 1 MiB, too little to measure a disk with") }
    let configuration = GatherRing.Configuration()
    let piece = min(configuration.pieceBytes, size)
    let device = try scratchDevice()
    let items = stride(from: 0, to: size - piece + 1, by: piece).map { GatherItem(offset: $0, byteCount: piece) }
    let ring: GatherRing
    do {
      var deep = configuration
      deep.depth = configuration.readerCount
      ring = try GatherRing(
        items: items, tailCount: 0, slotBytes: GatherItem.bufferBytes(piece),
        sources: [try GatherFile(path: path, caching: .bypassed)], device: device, configuration: deep)
    } catch let error as GatherError {
      throw error
    } catch {
      throw GatherError("\(error)")
    }
    let clock = ContinuousClock()
    let begin = clock.now
    var bytes = 0
    for item in items.indices {
      _ = try ring.take(item)
      ring.giveBack()
      bytes += piece
      if (clock.now - begin) / .seconds(1) > seconds { break }
    }
    return Double(bytes) / max((clock.now - begin) / .seconds(1), 1e-9)
  }

  private static func scratchDevice() throws(GatherError) -> CPUDevice {
    do {
      return try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
    } catch {
      throw GatherError("\(error)")
    }
  }
}
