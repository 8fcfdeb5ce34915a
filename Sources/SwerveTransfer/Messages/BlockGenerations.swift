/// How often each block of a data worker was begun anew. Who plans and who holds the blocks count both, by the same rule:
/// a block is begun when a step writes its first token, or copies another one into it. A step names the generation of
/// each block it reads; where that is not the holder's, the block has another content by now.
package struct BlockGenerations: Sendable {
  /// [blocks]
  private var counts: [UInt32]

  package init(blockCount: Int) { counts = [UInt32](repeating: 0, count: blockCount) }

  package var blockCount: Int { counts.count }

  package subscript(block: Int) -> UInt32 { counts[block] }

  /// The block gets a new content. Answers its generation.
  @discardableResult
  package mutating func begin(_ block: Int) -> UInt32 {
    counts[block] &+= 1
    return counts[block]
  }

  /// All blocks are another worker's now.
  package mutating func reset() {
    for index in counts.indices { counts[index] = 0 }
  }
}
