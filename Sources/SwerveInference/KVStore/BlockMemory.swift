package import SwerveCore
import SwerveHardware

/// Keys and values that can be copied out and in a block at a time, between steps: a pool of this process, data workers'
/// pools, or some of each.
package protocol BlockMemory {
  /// Of a block, all layers.
  var blockBytes: Int { get }
  /// Blocks that can be named.
  var blockCount: Int { get }
  /// Copies a block out, all layers one after another.
  ///
  /// - Throws: where what had it is gone; then the bytes mean nothing.
  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws
  /// Copies a block in, from what `pack` wrote.
  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID)
}

extension KVCache: BlockMemory {
  package var blockBytes: Int { layout.blockBytes }
}

/// Blocks of which those with lower numbers are in one place, the others in another, where they are numbered from 0.
struct DividedBlocks: BlockMemory {
  let near: any BlockMemory
  let far: any BlockMemory

  var blockBytes: Int { near.blockBytes }
  var blockCount: Int { near.blockCount + far.blockCount }

  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) throws {
    let (memory, own) = owner(of: block)
    try memory.pack(own, into: bytes)
  }

  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {
    let (memory, own) = owner(of: block)
    memory.unpack(bytes, into: own)
  }

  private func owner(of block: BlockID) -> (any BlockMemory, BlockID) {
    let number = Int(block.rawValue)
    return number < near.blockCount ? (near, block) : (far, BlockID(number - near.blockCount))
  }
}
