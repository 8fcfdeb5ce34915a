package import SwerveCore
package import SwerveHardware

/// Where the ranks' parts of a block lie in the block as one rank has it: layers one after another, each with all heads. So
/// what is kept below the ranks, or goes to another engine, does not depend on how many there were.
package struct RankBlockOrder: Sendable {
  /// Bytes that lie together in both.
  struct Run: Sendable, Hashable {
    var part: Int
    var whole: Int
    var byteCount: Int
  }

  let runs: [Run]
  package let byteCount: Int

  /// nil where the ranks' parts are not the block, once: with fewer KV heads than ranks some have the same ones.
  ///
  /// - Throws: `HardwareError` for a layout that cannot be.
  package init?(
    _ layout: RankLayout, model: ModelConfiguration, type: KVType, blockTokens: Int
  ) throws(HardwareError) {
    let whole = try model.layout(type: type, blockTokens: blockTokens)
    // The heads' keys lie together, then their values; with scales all of a head does.
    let groups = type.isScaled ? 1 : 2
    let headBytes = whole.blockLayerBytes / (groups * whole.headCount)
    var runs: [Run] = []
    var next = 0
    for rank in 0..<layout.computingCount {
      let shape = layout.shape(rank)
      let heads = shape.share(whole.headCount).range
      for layer in shape.layers {
        for group in 0..<groups {
          let count = heads.count * headBytes
          runs.append(
            Run(
              part: next,
              whole: layer * whole.blockLayerBytes + (group * whole.headCount + heads.lowerBound) * headBytes,
              byteCount: count))
          next += count
        }
      }
    }
    guard next == whole.blockBytes else { return nil }
    self.runs = runs
    byteCount = next
  }

  /// From the parts, rank after rank, to the block.
  package func join(_ parts: UnsafeRawBufferPointer, into whole: UnsafeMutableRawBufferPointer) {
    precondition(parts.count >= byteCount && whole.count >= byteCount, "a block of the ranks has \(byteCount) bytes")
    guard let from = parts.baseAddress, let to = whole.baseAddress else { return }
    for run in runs { (to + run.whole).copyMemory(from: from + run.part, byteCount: run.byteCount) }
  }

  /// And back.
  package func cut(_ whole: UnsafeRawBufferPointer, into parts: UnsafeMutableRawBufferPointer) {
    precondition(parts.count >= byteCount && whole.count >= byteCount, "a block of the ranks has \(byteCount) bytes")
    guard let from = whole.baseAddress, let to = parts.baseAddress else { return }
    for run in runs { (to + run.part).copyMemory(from: from + run.whole, byteCount: run.byteCount) }
  }
}
