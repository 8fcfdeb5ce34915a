package import SwerveCore
import SwerveHardware
package import SwerveInference
import SwerveTransfer

/// The pools of data workers of this host as this process sees them, and the places below all of them: blocks are copied
/// in, out and down between steps, to tiers or to other engines, by the bytes that the workers compute with. Worked with
/// on the engine thread alone.
///
/// A worker writes to its pool in a step only, and its last answer of the step comes after the last write. So between steps
/// the bytes are whoever's turn it is to read and write them: this process's. Where a worker was lost in a step, rows of
/// that step may be half-written; they lie behind all tokens that count as computed.
struct DataPools {
  let layout: KVLayout
  let bankBlocks: Int
  let bankCount: Int
  let places: SharedPlaces?
  /// Whether tiers keep what is copied out.
  let hasTiers: Bool
  private let device: CPUDevice
  /// [banks] nil: no worker of this host, or none any more.
  private var caches: [KVCache?]
  /// Banks whose workers have gone; their blocks can be read until the step that begins then has moved its blocks.
  private var retired: [Int] = []

  init(
    layout: KVLayout, bankBlocks: Int, bankCount: Int, places: SharedPlaces?, hasTiers: Bool, device: CPUDevice
  ) {
    self.hasTiers = hasTiers
    self.layout = layout
    self.bankBlocks = bankBlocks
    self.bankCount = bankCount
    self.places = places
    self.device = device
    caches = (0..<bankCount).map { _ in nil }
  }

  /// The bank has a worker with that pool; nil: none that can be reached.
  mutating func set(_ bank: Int, _ memory: SharedMemory?) throws {
    retired.removeAll { $0 == bank }
    caches[bank] = try memory.map {
      try KVCache(
        layout: layout, blockCount: bankBlocks, device: device, host: places,
        region: MemoryRegion(firstByte: $0.start, byteCount: layout.blockBytes * bankBlocks, owner: $0))
    }
  }

  /// The bank's worker has gone in good order.
  mutating func retire(_ bank: Int) { retired.append(bank) }

  /// A step begins: what was to be copied out of retired pools was.
  mutating func forgetRetired() {
    while let bank = retired.popLast() { caches[bank] = nil }
  }

  var blockCount: Int { bankBlocks * bankCount }

  private func owner(of block: BlockID) -> (KVCache, BlockID)? {
    let index = Int(block.rawValue)
    guard (0..<blockCount).contains(index), let cache = caches[index / bankBlocks] else { return nil }
    return (cache, BlockID(index % bankBlocks))
  }

  /// Copies a block out, all layers one after another.
  ///
  /// - Throws: where its pool is gone.
  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws(TransferError) {
    guard let (cache, own) = owner(of: block) else {
      throw .refused("the pool of data worker d\(Int(block.rawValue) / bankBlocks) is gone")
    }
    cache.pack(own, into: bytes)
  }

  /// Copies a block in.
  ///
  /// - Precondition: its bank is open.
  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    guard let (cache, own) = owner(of: block) else {
      preconditionFailure("block \(block.rawValue) is loaded into a bank that has no pool here")
    }
    cache.unpack(bytes, into: own)
  }

  /// Copies a block to a place below the pools.
  ///
  /// - Precondition: its sequence is planned, so its bank is open; there are places.
  func move(_ move: BlockMove) {
    guard let (cache, own) = owner(of: move.from) else {
      preconditionFailure("block \(move.from.rawValue) is moved out of a bank that has no pool here")
    }
    let place = Int(move.to.rawValue) - blockCount
    cache.moveToHost(from: own, to: BlockID(bankBlocks + place))
  }
}

/// By way of the set, for workers come and go.
extension DataSet: BlockMemory {
  package var blockCount: Int { pools?.blockCount ?? 0 }

  package func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws {
    guard let pools else { preconditionFailure("blocks of these data workers are not copied out") }
    try pools.pack(block, into: bytes)
  }

  package func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    guard let pools else { preconditionFailure("blocks of these data workers are not copied in") }
    pools.unpack(bytes, into: block)
  }
}
