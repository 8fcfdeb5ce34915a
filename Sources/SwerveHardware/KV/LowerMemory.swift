internal import SwerveCore

/// Host memory of this process for packed blocks, without an owner of their content: tests, and engines whose host tier
/// holds nothing else.
package final class HostRegion: HostPlaces {
  package let placeCount: Int
  package let placeStride: Int
  private let buffer: DeviceBuffer

  /// Memory is taken from the system as places are written.
  package init(layout: KVLayout, placeCount: Int, device: CPUDevice) throws(HardwareError) {
    guard placeCount > 0 else { throw .shape("host memory for \(placeCount) blocks holds none; use at least 1") }
    placeStride = Self.placeStride(layout)
    self.placeCount = placeCount
    let (bytes, overflow) = placeStride.multipliedReportingOverflow(by: placeCount)
    guard !overflow else { throw .outOfMemory(requestedBytes: .max) }
    buffer = try device.allocate(byteCount: bytes)
  }

  package var firstByte: UnsafeMutableRawPointer { buffer.pointer }

  /// Bytes from a block to the next: whole pages, so that one block's layers share none with another's.
  package static func placeStride(_ layout: KVLayout) -> Int { (layout.blockBytes + 4095) & ~4095 }
}

/// Where one layer of each block that is not in memory is read into, a place a block.
package final class StagingRegion: StagingPlaces {
  package let placeCount: Int
  package let pieceBytes: Int
  private let buffer: DeviceBuffer

  package init(layout: KVLayout, placeCount: Int, device: CPUDevice) throws(HardwareError) {
    let least = (Int(AttentionBatch.partition) + layout.blockTokens - 1) / layout.blockTokens
    guard placeCount >= least else {
      throw .shape(
        "a staging ring of \(placeCount) blocks does not hold one partition of attention; use at least \(least)")
    }
    self.placeCount = placeCount
    pieceBytes = layout.blockLayerBytes
    buffer = try device.allocate(byteCount: placeCount * pieceBytes)
  }

  package func piece(_ place: Int) -> UnsafeMutableRawBufferPointer {
    precondition(place >= 0 && place < placeCount, "no such staging place")
    return UnsafeMutableRawBufferPointer(start: buffer.pointer + place * pieceBytes, count: pieceBytes)
  }
}
