import SwerveCore
package import SwerveTransfer

/// Memory that a data worker shares with who started it, where both are on one host.
package struct WorkerMemory: Sendable {
  /// Its keys and values; nil: they are its own.
  package var pool: SharedMemory?
  /// Places for running sequences' blocks below the pools of all workers; nil: there are none.
  package var places: SharedMemory?

  package init(pool: SharedMemory? = nil, places: SharedMemory? = nil) {
    self.pool = pool
    self.places = places
  }

  /// In a worker's process: what the greeting says it was started with.
  ///
  /// - Parameter blockBytes: of one block, all layers.
  /// - Throws: where that is not there, or has another size.
  static func inherited(_ greeting: WorkerGreeting, blockBytes: Int) throws(TransferError) -> WorkerMemory {
    var memory = WorkerMemory()
    let poolBytes = blockBytes * greeting.limits.blockCount
    if greeting.regionBytes > 0 {
      guard greeting.regionBytes == UInt64(poolBytes) else {
        throw .refused(
          "the region of keys and values has \(greeting.regionBytes) bytes where this model's blocks take \(poolBytes); "
            + "start both workers from the same program")
      }
      memory.pool = try RegionFile.inherited(byteCount: poolBytes)
    }
    if greeting.limits.placeCount > 0 {
      memory.places = try SharedMemory(
        mapping: Descriptor(WorkerProcess.placesDescriptor),
        byteCount: SharedPlaces.byteCount(greeting.limits.placeCount, blockBytes: blockBytes))
    }
    return memory
  }
}

/// Places for packed blocks of running sequences, in memory that data workers read and who plans writes to.
final class SharedPlaces: HostPlaces {
  let memory: SharedMemory
  let placeCount: Int
  let placeStride: Int

  var firstByte: UnsafeMutableRawPointer { memory.start }

  /// - Throws: `.malformed` where the memory holds fewer places.
  init(_ memory: SharedMemory, placeCount: Int, blockBytes: Int) throws(TransferError) {
    guard placeCount > 0, memory.byteCount >= Self.byteCount(placeCount, blockBytes: blockBytes) else {
      throw .malformed("\(memory.byteCount) bytes of shared memory do not hold \(placeCount) blocks of \(blockBytes)")
    }
    self.memory = memory
    self.placeCount = placeCount
    placeStride = Self.stride(blockBytes)
  }

  /// Whole pages, as in the host memory of one process.
  private static func stride(_ blockBytes: Int) -> Int { (blockBytes + 4095) & ~4095 }

  /// Bytes of memory for so many places; 64 more may be read at its end.
  static func byteCount(_ placeCount: Int, blockBytes: Int) -> Int { placeCount * stride(blockBytes) + 64 }
}
