// Prompts that one engine computes and another one goes on with. The engine thread's part is here and in `BlockTiers`;
// what goes over the network is `SwerveTransfer`'s. Nothing here waits for anybody.
// Start here; the front's part is Engine+Transfer.

package import SwerveCore
package import SwerveHardware
import SwerveInference
package import SwerveTransfer

/// Prompts whose blocks are handed over while they are computed: after each layer, the layer of every block that is full
/// then is copied, once, to where its transfer sends it from. Where keys and values are elsewhere, with other ranks,
/// blocks that became full are copied out after the step. Owned by the engine thread.
package final class BlockHandover: LayerWatch {
  private struct Push {
    var transfer: OutgoingBlocks
    /// Leading blocks of which all layers were posted.
    var posted = 0
  }

  /// A prompt's share of the step.
  private struct Share {
    var request: RequestID
    var transfer: OutgoingBlocks
    /// Blocks that the step fills.
    var blocks: Range<Int>
    /// The first of them in `blocks`.
    var firstEntry: Int
  }

  private let blockTokens: Int
  private let layerCount: Int
  private let layerBytes: Int
  /// Whether blocks are copied out after each step, and layers are not heard of.
  let packsBlocks: Bool
  /// A block that is copied out; empty until one is.
  private var packed: [UInt8] = []
  private var pushes: [RequestID: Push] = [:]
  private var shares: [Share] = []
  /// Of all shares, one after another.
  private var blocks: [BlockID] = []

  /// - Parameter layerBytes: of a block in one layer.
  package init(blockTokens: Int, layerCount: Int, layerBytes: Int, packsBlocks: Bool = false) {
    self.blockTokens = blockTokens
    self.layerCount = layerCount
    self.layerBytes = layerBytes
    self.packsBlocks = packsBlocks
  }

  /// A request that is about to be scheduled has its prompt's blocks handed over.
  package func add(_ request: RequestID, _ transfer: OutgoingBlocks) { pushes[request] = Push(transfer: transfer) }

  /// The request is over, whatever its end.
  package func end(_ request: RequestID) {
    if pushes.isEmpty { return }
    pushes.removeValue(forKey: request)?.transfer.abort("the request ended before its prompt was computed")
  }

  package func begin(_ plan: borrowing StepPlan, cache: KVCache) {
    shares.removeAll(keepingCapacity: true)
    blocks.removeAll(keepingCapacity: true)
    if pushes.isEmpty { return }
    for index in plan.sequences.indices where plan.sequences[index].sequence.index == 0 {
      let step = plan.sequences[index]
      let request = step.sequence.request
      guard let push = pushes[request] else { continue }
      let table = plan.blocks[Int(step.firstBlock)..<Int(step.firstBlock + step.blockCount)]
      // What is read from elsewhere may not come, and then the step's rows mean nothing.
      let isOnDevice = table.allSatisfy { $0.rawValue >= 0 && Int($0.rawValue) < cache.blockCount }
      if !isOnDevice { push.transfer.abort("the prompt does not fit the producer's device") }
      if !isOnDevice || push.transfer.hasFailed {
        pushes[request] = nil
        continue
      }
      share(push, request, step, Array(table), cache)
    }
  }

  private func share(
    _ push: Push, _ request: RequestID, _ step: SequenceStep, _ table: [BlockID], _ cache: KVCache
  ) {
    let count = push.transfer.count
    let before = min(Int(step.contextTokens) / blockTokens, count)
    let full = min(Int(step.contextTokens + step.rowCount) / blockTokens, count, table.count)
    // From the prefix cache or from a tier: here in all layers already.
    if push.posted < before {
      for layer in 0..<cache.layout.layerCount {
        copy(push.posted..<before, of: table[push.posted..<before], layer, to: push.transfer, cache)
      }
      pushes[request]?.posted = before
    }
    let begin = max(push.posted, before)
    if begin < full {
      shares.append(
        Share(request: request, transfer: push.transfer, blocks: begin..<full, firstEntry: blocks.count))
      blocks += table[begin..<full]
    } else if before == count {
      complete(request)
    }
  }

  package func wrote(layer: Int, cache: KVCache) {
    for share in shares {
      copy(
        share.blocks, of: blocks[share.firstEntry..<share.firstEntry + share.blocks.count], layer, to: share.transfer,
        cache)
    }
  }

  package func end() {
    for share in shares {
      pushes[share.request]?.posted = share.blocks.upperBound
      if share.blocks.upperBound == share.transfer.count { complete(share.request) }
    }
    shares.removeAll(keepingCapacity: true)
  }

  /// After a step that was executed, before its result is applied: copies out what it filled, where layers are not heard of.
  /// What cannot be copied now is copied after the next step, or computed by whoever gets the prompt.
  func collect(_ plan: borrowing StepPlan, _ incomplete: [Int32], _ executor: any StepExecutor) {
    guard packsBlocks, !pushes.isEmpty else { return }
    for index in plan.sequences.indices where plan.sequences[index].sequence.index == 0 {
      let step = plan.sequences[index]
      let request = step.sequence.request
      guard let push = pushes[request], !incomplete.contains(Int32(index)) else { continue }
      if push.transfer.hasFailed {
        pushes[request] = nil
        continue
      }
      let full = min(
        Int(step.contextTokens + step.rowCount) / blockTokens, push.transfer.count, Int(step.blockCount))
      var posted = push.posted
      while posted < full, copyOut(plan.blocks[Int(step.firstBlock) + posted], posted, push.transfer, executor) {
        posted += 1
      }
      if posted > push.posted {
        for layer in 0..<layerCount { push.transfer.post(layer: layer, blocks: push.posted..<posted) }
        pushes[request]?.posted = posted
      }
      if posted == push.transfer.count { complete(request) }
    }
  }

  /// False where the block cannot be had.
  private func copyOut(
    _ block: BlockID, _ position: Int, _ transfer: OutgoingBlocks, _ executor: any StepExecutor
  ) -> Bool {
    if packed.isEmpty { packed = [UInt8](repeating: 0, count: layerCount * layerBytes) }
    return packed.withUnsafeMutableBytes { bytes in
      guard (try? executor.pack(block, into: bytes)) != nil, let start = bytes.baseAddress else { return false }
      for layer in 0..<layerCount {
        transfer.place(layer: layer, block: position).copyMemory(
          from: start + layer * layerBytes, byteCount: layerBytes)
      }
      return true
    }
  }

  private func complete(_ request: RequestID) { pushes.removeValue(forKey: request)?.transfer.complete() }

  private func copy(
    _ positions: Range<Int>, of table: ArraySlice<BlockID>, _ layer: Int, to transfer: OutgoingBlocks,
    _ cache: KVCache
  ) {
    for (position, block) in zip(positions, table) {
      transfer.place(layer: layer, block: position).copyMemory(
        from: cache.address(layer: layer, block: block), byteCount: transfer.layerBytes)
    }
    transfer.post(layer: layer, blocks: positions)
  }
}
