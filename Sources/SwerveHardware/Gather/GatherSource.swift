// Weights that come when they are needed: a ring of buffers that threads fill ahead of use. This folder moves bytes; it
// must not know what a layer is or how its matrices lie.
// Start with GatherRing.swift.

/// Where runs of bytes are fetched from. Read by several threads at once.
package protocol GatherSource: Sendable {
  /// Fills `bytes` with what lies at `offset`; both are whole pages, and so is their number. What lies behind the end of
  /// the source is left undefined.
  ///
  /// - Throws: one sentence; also where the source ends before `needed` bytes.
  func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int, needed: Int) throws(GatherError)

  /// Bytes that other ranks sent.
  var fetchedBytes: Int { get }
}

extension GatherSource {
  package var fetchedBytes: Int { 0 }
}

/// One run of bytes, fetched as a whole: a layer, a piece of the output head.
package struct GatherItem: Sendable, Hashable {
  /// Which of the ring's sources has it.
  package var source: Int
  /// First byte there, a multiple of 4,096.
  package var offset: Int
  package var byteCount: Int

  package init(source: Int = 0, offset: Int, byteCount: Int) {
    self.source = source
    self.offset = offset
    self.byteCount = byteCount
  }

  /// Whole pages.
  static let alignment = 4096

  static func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

  /// Bytes of a buffer for an item, with the 64 that kernels may read behind it.
  package static func bufferBytes(_ byteCount: Int) -> Int { aligned(byteCount + 64) }
}

/// Bytes that could not be fetched: one sentence.
package struct GatherError: Error, Sendable, Hashable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// The memory of a ring, shared with the matrices that look into it.
package final class GatherMemory: Sendable {
  private let buffer: DeviceBuffer

  init(byteCount: Int, device: CPUDevice) throws(HardwareError) { buffer = try device.allocate(byteCount: byteCount) }

  package var byteCount: Int { buffer.byteCount }
  var pointer: UnsafeMutableRawPointer { buffer.pointer }
}
