/// Memory of the host with places for packed blocks: all layers of one block together, layer after layer, with the bytes
/// the device has. Attention reads them where they lie.
///
/// Who may touch which place is decided by whoever hands out the places; the object only says where they are.
package protocol HostPlaces: AnyObject, Sendable {
  /// Places.
  var placeCount: Int { get }
  /// First byte of place 0, aligned to 64 bytes; 64 bytes beyond the last place are readable.
  var firstByte: UnsafeMutableRawPointer { get }
  /// Bytes from one place to the next.
  var placeStride: Int { get }
}

/// Memory that pieces of blocks are read into: one layer of one block in each place.
package protocol StagingPlaces: AnyObject, Sendable {
  /// Places.
  var placeCount: Int { get }
  /// Bytes of a piece.
  var pieceBytes: Int { get }
  /// The piece's memory. A place belongs to the reader from `read` until `wait` has returned.
  func piece(_ place: Int) -> UnsafeMutableRawBufferPointer
}

/// What of an overflow store moved so far.
package struct OverflowTraffic: Sendable, Hashable {
  package var writtenBytes = 0
  package var readBytes = 0
  /// Pieces that could not be read, or were not what was written.
  package var failedReads = 0
  /// Blocks that could not be written; each will be found missing when it is read.
  package var failedWrites = 0

  package init() {}
}

/// Places for blocks of running sequences that neither the device nor host memory has room for. Blocks in it cannot be
/// computed with: attention asks for one layer of them at a time and waits for it.
///
/// A place has the block last written to it, or nothing: what comes back is what was written, bit for bit, or a failure.
/// One thread writes, reads and waits; the store moves bytes on threads of its own.
package protocol OverflowStore: AnyObject, Sendable {
  /// Places.
  var placeCount: Int { get }
  /// Keeps a packed block: `fill` writes all of it, and has been called when this returns. Waits only while as many
  /// writes are under way as the store holds. A read that follows sees the block.
  func write(_ place: Int, fill: (UnsafeMutableRawBufferPointer) -> Void)
  /// Begins to read a layer of a block into a staging place, for which no read is under way.
  func read(_ place: Int, layer: Int, into staging: Int, of target: any StagingPlaces)
  /// Waits for the read into that staging place. False, with the piece undefined, when the block could not be had.
  func wait(_ staging: Int) -> Bool
  var traffic: OverflowTraffic { get }
}

/// The block ids of a run: where a block lies is a range of its number.
package struct BlockRanges: Sendable, Hashable {
  /// `0 ..< deviceCount`: the device's pool, the only blocks that are written to.
  package var deviceCount: Int
  /// The next ones: places of host memory.
  package var hostCount: Int
  /// The last ones: places of the overflow store.
  package var overflowCount: Int

  package init(deviceCount: Int, hostCount: Int = 0, overflowCount: Int = 0) {
    self.deviceCount = deviceCount
    self.hostCount = hostCount
    self.overflowCount = overflowCount
  }

  package var count: Int { deviceCount + hostCount + overflowCount }
  /// The first id of the overflow store.
  package var firstOverflow: Int { deviceCount + hostCount }

  package func isOnDevice(_ block: BlockID) -> Bool { Int(block.rawValue) < deviceCount }
  package func isOverflow(_ block: BlockID) -> Bool { Int(block.rawValue) >= firstOverflow }
}

/// A block that goes from the device to a place below it, in all layers.
package struct BlockMove: Sendable, Hashable {
  package var from: BlockID
  package var to: BlockID

  package init(from: BlockID, to: BlockID) {
    self.from = from
    self.to = to
  }
}

/// Where keys and values go that the device's pool cannot hold.
package struct OverflowConfiguration: Sendable {
  /// What a store is made for.
  package struct Shape: Sendable, Hashable {
    package var placeCount: Int
    package var layerCount: Int
    /// Bytes of one layer of a block.
    package var pieceBytes: Int

    package init(placeCount: Int, layerCount: Int, pieceBytes: Int) {
      self.placeCount = placeCount
      self.layerCount = layerCount
      self.pieceBytes = pieceBytes
    }

    package var blockBytes: Int { layerCount * pieceBytes }
  }

  /// Places in host memory.
  package var hostBlocks = 0
  /// Places in the overflow store.
  package var storeBlocks = 0
  /// Staging places; two partitions of 256 tokens at least.
  package var stagingBlocks = 64
  /// Blocks of the overflow store that one step may read; a sequence that needs more still runs, alone. nil = as many as
  /// `storeSecondsPerStep` is enough for at the store's measured speed.
  package var storeBlocksPerStep: Int?
  /// Seconds of a step that reading the overflow store may take.
  package var storeSecondsPerStep = 1.0
  /// Makes the store; nil = none.
  package var makeStore: (@Sendable (Shape) throws -> any OverflowStore)?

  package init() {}
}
