package import SwerveCore
package import SwerveHardware

/// Another place for the keys and values of blocks beyond a rank's own.
package struct ExcessAttention {
  /// Blocks that the rank itself has: those with lower numbers. 0: it has none.
  package var quota: Int
  /// Attention over the others, numbered from 0.
  package var port: any AttentionPort
  /// Bytes that went to and from there, and layers answered.
  package var traffic: () -> (bytes: Int, exchanges: Int)

  package init(quota: Int, port: any AttentionPort, traffic: @escaping () -> (bytes: Int, exchanges: Int)) {
    self.quota = quota
    self.port = port
    self.traffic = traffic
  }
}

/// Attention in two places: a fixed number of blocks lie with the rank, all others elsewhere. A sequence's blocks lie in one
/// of them. Rows go to where their blocks are; a step of one place only is passed on as it is.
package final class QuotaAttention: AttentionPort {
  package let far: ExcessAttention
  private let near: LocalAttention
  private let store: KVStore
  private let quota: Int32
  /// The step for each place.
  private var nearPlan = StepPlan()
  private var farPlan = StepPlan()
  /// Of the step, not yet told.
  private var farCopies: [BlockCopy] = []
  /// [sequences of the far plan] their places in the step's.
  private var farSequences: [Int32] = []
  /// [rows] row of each in the step, for either place.
  private var nearRows: [Int32] = []
  private var farRows: [Int32] = []
  private var nearHandle = StepHandle(plan: 0)
  private var farHandle = StepHandle(plan: 0)
  private var rowCount = 0
  /// A [rows, Hq × d] queries of the near rows; [rows, Hkv × d] their keys and values; A [rows, Hq × d] output of all.
  private let query, key, value, output: Tensor
  /// The same for far rows, where the port has no places of its own.
  private let farQuery, farKey, farValue: Tensor
  private let buffer: BufferBox

  package init(
    near: LocalAttention, store: KVStore, far: ExcessAttention, shape: AttentionShape, type: ElementType,
    limits: RunnerLimits, device: CPUDevice
  ) throws(HardwareError) {
    self.near = near
    self.store = store
    self.far = far
    quota = Int32(far.quota)
    let widths = [
      shape.queryWidth, shape.keyValueWidth, shape.keyValueWidth, shape.queryWidth, shape.keyValueWidth,
      shape.keyValueWidth, shape.queryWidth,
    ]
    let lines = widths.map { (limits.rows * $0 * type.byteCount + 63) / 64 * 64 }
    let box = BufferBox(try device.allocate(byteCount: lines.reduce(0, +)))
    buffer = box
    func tensor(_ index: Int) -> Tensor {
      box.buffer.tensor(
        type, rows: limits.rows, columns: widths[index], byteOffset: lines.prefix(index).reduce(0, +))
    }
    (query, key, value) = (tensor(0), tensor(1), tensor(2))
    (farQuery, farKey, farValue) = (tensor(3), tensor(4), tensor(5))
    output = tensor(6)
    nearRows.reserveCapacity(limits.rows)
    farRows.reserveCapacity(limits.rows)
    farSequences.reserveCapacity(limits.sequences)
  }

  package var blocks: (any BlockMemory)? {
    far.port.blocks.map { DividedBlocks(near: store.cache, far: $0) }
  }

  /// Copies blocks as the plan says, before its rows are computed. A copy stays in its place; those of the far one go with
  /// the step's rows, where it has some, so that an answer tells that they were made.
  package func copy(_ plan: borrowing StepPlan) throws {
    farCopies.removeAll(keepingCapacity: true)
    for copy in plan.copies {
      if copy.to.rawValue < quota {
        store.cache.copyBlock(from: copy.from, to: copy.to)
      } else {
        farCopies.append(
          BlockCopy(
            from: BlockID(rawValue: copy.from.rawValue - quota), to: BlockID(rawValue: copy.to.rawValue - quota)))
      }
    }
    if plan.tokens.isEmpty { try copyFar() }
  }

  private func copyFar() throws {
    if farCopies.isEmpty { return }
    farPlan.removeAll()
    farPlan.copies.append(contentsOf: farCopies)
    farCopies.removeAll(keepingCapacity: true)
    _ = far.port.end(try far.port.begin(farPlan))
  }

  package func begin(_ plan: borrowing StepPlan) throws -> StepHandle {
    nearPlan.removeAll()
    farPlan.removeAll()
    nearRows.removeAll(keepingCapacity: true)
    farRows.removeAll(keepingCapacity: true)
    farSequences.removeAll(keepingCapacity: true)
    nearPlan.id = plan.id
    farPlan.id = plan.id
    rowCount = plan.tokens.count
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      // Who only samples attends to nothing.
      guard step.rowCount > 0, step.blockCount > 0 else { continue }
      if plan.blocks[Int(step.firstBlock)].rawValue < quota {
        Self.append(step, of: plan, to: &nearPlan, rows: &nearRows, first: 0)
      } else {
        Self.append(step, of: plan, to: &farPlan, rows: &farRows, first: quota)
        farSequences.append(Int32(index))
      }
    }
    if !nearRows.isEmpty { nearHandle = near.begin(nearPlan) }
    if farRows.isEmpty {
      try copyFar()
    } else {
      farPlan.copies.append(contentsOf: farCopies)
      farCopies.removeAll(keepingCapacity: true)
      farHandle = try far.port.begin(farPlan)
    }
    return StepHandle(plan: plan.id)
  }

  private static func append(
    _ step: SequenceStep, of plan: borrowing StepPlan, to part: inout StepPlan, rows: inout [Int32], first: Int32
  ) {
    var own = step
    own.firstRow = Int32(rows.count)
    own.firstBlock = Int32(part.blocks.count)
    for row in step.firstRow..<step.firstRow + step.rowCount {
      rows.append(row)
      part.tokens.append(plan.tokens[Int(row)])
    }
    for place in step.firstBlock..<step.firstBlock + step.blockCount {
      part.blocks.append(BlockID(rawValue: plan.blocks[Int(place)].rawValue - first))
    }
    part.sequences.append(own)
  }

  package func places(layer: Int, microbatch: Int, rows: Int) throws -> AttentionRows? {
    nearRows.isEmpty ? try far.port.places(layer: layer, microbatch: microbatch, rows: rows) : nil
  }

  package func slots(layer: Int) -> KVSlots? { farRows.isEmpty ? near.slots(layer: layer) : nil }

  package func submit(layer: Int, microbatch: Int, q: Tensor, k: Tensor, v: Tensor) throws {
    if nearRows.isEmpty { return try far.port.submit(layer: layer, microbatch: microbatch, q: q, k: k, v: v) }
    if farRows.isEmpty { return near.submit(layer: layer, microbatch: microbatch, q: q, k: k, v: v) }
    // The far place works while this one does.
    let count = farRows.count
    let places =
      try far.port.places(layer: layer, microbatch: microbatch, rows: count)
      ?? AttentionRows(q: farQuery.first(count), k: farKey.first(count), v: farValue.first(count))
    Self.gather(farRows, of: q, into: places.q)
    Self.gather(farRows, of: k, into: places.k)
    Self.gather(farRows, of: v, into: places.v)
    try far.port.submit(layer: layer, microbatch: microbatch, q: places.q, k: places.k, v: places.v)
    let own = nearRows.count
    Self.gather(nearRows, of: q, into: query)
    Self.gather(nearRows, of: k, into: key)
    Self.gather(nearRows, of: v, into: value)
    near.submit(
      layer: layer, microbatch: microbatch, q: query.first(own), k: key.first(own), v: value.first(own))
    Self.scatter(near.result(layer: layer, microbatch: microbatch), to: nearRows, of: output)
  }

  package func result(layer: Int, microbatch: Int) throws -> Tensor {
    if farRows.isEmpty { return near.result(layer: layer, microbatch: microbatch) }
    let found = try far.port.result(layer: layer, microbatch: microbatch)
    if nearRows.isEmpty { return found }
    Self.scatter(found, to: farRows, of: output)
    return output.first(rowCount)
  }

  package func end(_ handle: StepHandle) -> ResidencyChanges {
    var changes = ResidencyChanges()
    if !nearRows.isEmpty { _ = near.end(nearHandle) }
    if farRows.isEmpty { return changes }
    changes.incomplete = far.port.end(farHandle).incomplete.map { farSequences[Int($0)] }
    return changes
  }

  private static func gather(_ rows: [Int32], of whole: Tensor, into part: Tensor) {
    let bytes = whole.columns * whole.type.byteCount
    for (index, row) in rows.enumerated() {
      (part.pointer + index * part.rowBytes).copyMemory(
        from: whole.pointer + Int(row) * whole.rowBytes, byteCount: bytes)
    }
  }

  private static func scatter(_ part: Tensor, to rows: [Int32], of whole: Tensor) {
    let bytes = whole.columns * whole.type.byteCount
    for (index, row) in rows.enumerated() {
      (whole.pointer + Int(row) * whole.rowBytes).copyMemory(
        from: part.pointer + index * part.rowBytes, byteCount: bytes)
    }
  }
}
