import SwerveCore
package import SwerveScheduling
import SwerveTiers
import SwerveTransfer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension BlockTiers {
  // MARK: Device ↔ host

  /// Before anything of a plan is carried out: copies out what preempted sequences lose.
  package func swapOut(_ scheduler: inout Scheduler, _ executor: any StepExecutor) {
    if scheduler.tierOrders.swapOuts.isEmpty { return }
    for order in scheduler.tierOrders.swapOuts { swapOut(order, executor) }
    scheduler.tierOrders.swapOuts.removeAll()
    isChanged = true
  }

  /// After the plan's moves, which make room, and before it is executed: fills what it reads.
  package func load(_ scheduler: inout Scheduler, _ executor: any StepExecutor) {
    if scheduler.tierOrders.loads.isEmpty { return }
    var bytes = 0
    for load in scheduler.tierOrders.loads { bytes += self.load(load, executor) }
    if bytes > 0 { totals.loadSizes.add(Double(bytes)) }
    scheduler.tierOrders.loads.removeAll(keepingCapacity: true)
    isChanged = true
  }

  /// After results were applied: copies what became full to the host. As many blocks as the step's tokens filled.
  package func keep(_ scheduler: inout Scheduler, _ executor: any StepExecutor) {
    if scheduler.tierOrders.sealed.isEmpty { return }
    if !keepsBlocks && scheduler.tierOrders.sealed.count > 0 {
      nameSealed(&scheduler)
      return
    }
    var bytes = 0
    for sealed in scheduler.tierOrders.sealed where scheduler.cache.contains(sealed.block) {
      let identity = BlockIdentity(
        scope: scope(salt: sealed.salt), parent: sealed.parent.map { digests[Int($0.rawValue)] },
        tokens: scheduler.cache.tokens(of: sealed.block))
      digests[Int(sealed.block.rawValue)] = identity.digest
      bytes += copyOut(sealed.block, identity, executor)
    }
    if bytes > 0 { totals.storeSizes.add(Double(bytes)) }
    scheduler.tierOrders.sealed.removeAll(keepingCapacity: true)
    isChanged = true
  }

  /// Nothing is copied; but a later read begins behind a block of the device, by that block's name.
  private func nameSealed(_ scheduler: inout Scheduler) {
    for sealed in scheduler.tierOrders.sealed where scheduler.cache.contains(sealed.block) {
      digests[Int(sealed.block.rawValue)] =
        BlockIdentity(
          scope: scope(salt: sealed.salt), parent: sealed.parent.map { digests[Int($0.rawValue)] },
          tokens: scheduler.cache.tokens(of: sealed.block)
        ).digest
    }
    scheduler.tierOrders.sealed.removeAll(keepingCapacity: true)
  }

  private func swapOut(_ order: SwapOut, _ executor: any StepExecutor) {
    let scope = scope(salt: order.salt, of: order.sequence)
    var identities: [BlockIdentity] = []
    for position in order.blocks.indices {
      let first = position * shape.blockTokens
      identities.append(
        BlockIdentity(
          scope: scope, parent: identities.last?.digest,
          tokens: Array(order.tokens[first..<(first + shape.blockTokens)])))
    }
    // The last first: a chain is useless without its beginning, which therefore is evicted last.
    var bytes = 0
    for position in order.blocks.indices.reversed() {
      bytes += copyOut(order.blocks[position], identities[position], executor)
    }
    totals.swapOutBytes += bytes
    if bytes > 0 { totals.storeSizes.add(Double(bytes)) }
  }

  /// Copies a block to the host, unless it is there, and from there on to files. Answers the bytes copied.
  private func copyOut(
    _ block: BlockID, _ identity: BlockIdentity, _ executor: any StepExecutor
  ) -> Int {
    let slot: HostSlot
    switch host.reserve(identity, reloadCost: reloadCost) {
    case .reserved(let reserved): slot = reserved
    case .present:
      // Counts as a use.
      _ = host.find(identity)
      return 0
    case .filling: return 0
    case .refused:
      totals.allocationFailures += 1
      return 0
    }
    guard let memory = host.memory(of: slot) else { preconditionFailure("a reserved place is pinned") }
    let began = clock()
    let target = shape.conversion == nil ? memory.bytes : scratch
    // Who lost a part of the block says so itself.
    guard (try? executor.pack(block, into: target)) != nil else {
      host.abandon(slot)
      return 0
    }
    if let conversion = shape.conversion {
      guard conversion.encode(UnsafeRawBufferPointer(scratch), into: memory.bytes) else {
        host.abandon(slot)
        return 0
      }
    }
    host.seal(slot, lossy: shape.conversion != nil)
    measureCopy(began)
    totals.storeSeconds += clock() - began
    totals.deviceToHostBytes += shape.hostBytes
    if !spill(slot, identity) {
      if backlog.count - backlogHead < host.blockCount {
        backlog.append((slot, identity))
      } else {
        totals.spillsDropped += 1
      }
    }
    return shape.hostBytes
  }

  /// Carries an order out. Answers the bytes copied.
  private func load(_ load: BlockLoad, _ executor: any StepExecutor) -> Int {
    let entry = take(Int(load.position), of: load.read)
    if let entry, let external = entry.external { return self.load(load, entry, external, executor) }
    guard let entry, let slot = entry.slot, let memory = host.memory(of: slot) else {
      preconditionFailure("block \(load.position) of read \(load.read) was never reported to be ready")
    }
    defer { host.unpin(slot) }
    guard let block = load.block else { return 0 }
    let began = clock()
    if let conversion = shape.conversion {
      conversion.decode(UnsafeRawBufferPointer(memory.bytes), into: scratch)
      executor.unpack(UnsafeRawBufferPointer(scratch), into: block)
    } else {
      executor.unpack(UnsafeRawBufferPointer(memory.bytes), into: block)
    }
    measureCopy(began)
    let seconds = clock() - began
    digests[Int(block.rawValue)] = entry.identity.digest
    totals.loadSeconds += seconds
    totals.hostToDeviceBytes += shape.hostBytes
    totals.reloadSeconds[entry.source.rawValue].add(entry.seconds + seconds)
    if load.isHit {
      totals.hitTokens[entry.source.rawValue] += shape.blockTokens
    } else {
      totals.swapInBytes += shape.hostBytes
    }
    return shape.hostBytes
  }

  /// The same with a block that another engine sent.
  private func load(
    _ load: BlockLoad, _ entry: TierReading.Entry, _ external: IncomingBlocks, _ executor: any StepExecutor
  ) -> Int {
    guard let block = load.block else { return 0 }
    let isLoaded = external.load(Int(load.position)) { executor.unpack($0, into: block) }
    precondition(isLoaded, "block \(load.position) of a transfer was never reported to be ready")
    digests[Int(block.rawValue)] = entry.identity.digest
    if load.isHit { externalHitTokens += shape.blockTokens }
    return 0
  }

  private func measureCopy(_ began: Double) {
    let sample = max(clock() - began, 1e-9)
    secondsPerBlock = secondsPerBlock.map { $0 + 0.1 * (sample - $0) } ?? sample
  }

  // MARK: Host ↔ files

  /// Sends a sealed block on to files; takes over its pin. False when the lane is full: the pin is gone all the same.
  private func spill(_ slot: HostSlot, _ identity: BlockIdentity) -> Bool {
    guard let files, let lane, !files.configuration.isReadOnly, files.healthState != .off, !files.contains(identity),
      let memory = host.memory(of: slot)
    else {
      host.unpin(slot)
      return true
    }
    let id = newTransfer()
    let request = TransferRequest.spill(
      id, identity, from: memory, reloadCost: reloadCost, isLossy: host.isLossy(slot))
    let refusal = lane.submit(request)
    if refusal == nil {
      transfers[id] = Transfer(kind: .spill, slot: slot)
      return true
    }
    host.unpin(slot)
    if refusal == .ended { totals.spillsDropped += 1 }
    return refusal == .ended
  }

  /// Tries the blocks again that found the lane full, oldest first. One that was evicted meanwhile is lost to files.
  func submitBacklog() {
    if backlog.isEmpty { return }
    while backlogHead < backlog.count {
      let (slot, identity) = backlog[backlogHead]
      if !host.pinIntact(slot) {
        totals.spillsDropped += 1
      } else if !spill(slot, identity) {
        break
      }
      backlogHead += 1
    }
    if backlogHead == backlog.count || backlogHead > 1024 && 2 * backlogHead > backlog.count {
      backlog.removeFirst(backlogHead)
      backlogHead = 0
    }
    isChanged = true
  }

  /// Takes over what the lane's threads finished.
  func finishTransfers() {
    guard let lane else { return }
    lane.takeCompletions(into: &completions)
    if completions.isEmpty { return }
    for completion in completions {
      guard let transfer = transfers.removeValue(forKey: completion.id) else { continue }
      switch transfer.kind {
      case .spill:
        host.unpin(transfer.slot)
        switch completion.outcome {
        case .spilled(.stored(let bytes)): totals.hostToFileBytes += bytes
        case .spilled(.present): break
        default: totals.spillsDropped += 1
        }
      case .fetch(let read, let position):
        var isHit = false
        if case .fetched(.hit(let isLossy)) = completion.outcome {
          isHit = true
          totals.fileToHostBytes += shape.hostBytes
          host.seal(transfer.slot, lossy: isLossy)
        } else {
          host.abandon(transfer.slot)
        }
        fetched(read, position: position, slot: transfer.slot, isHit: isHit, seconds: completion.seconds)
      }
    }
    noticeState()
    isChanged = true
  }

  func pause(milliseconds: UInt32) { usleep(milliseconds * 1000) }
}
