package import SwerveCore
package import SwerveHardware

/// Attention on the device that also computes the layers: writes the step's keys and values into the cache and attends
/// over the cache, from which it reads them back, so that a row's result does not depend on how its prompt was cut.
package final class LocalAttention: AttentionPort {
  private let device: CPUDevice
  private let store: KVStore
  /// [layers] tokens a query sees; nil = all.
  private let windows: [Int?]
  private let blockTokens: Int
  /// Softmax scale, 1 / √head size.
  private let scale: Float
  /// Plans for layers without and with a window; a model has one window at most.
  private let full: AttentionBatch?
  private let windowed: AttentionBatch?
  /// A [maxRows, Hq × d]: attention output.
  private let outputBuffer: DeviceBuffer
  private let output: Tensor
  /// [sequences] of the step that have rows, and their places in the plan; storage is kept.
  private var sequences: [AttentionSequence] = []
  private var places: [Int32] = []
  private var rowCount = 0
  /// The layer whose keys and values somebody else writes.
  private var written: Int?
  /// Brings what is not in memory; nil where everything is.
  private var ring: StagingRing?

  package var blocks: (any BlockMemory)? { store.cache }

  /// - Parameter type: of the rows at the seam.
  /// - Throws: `HardwareError` for memory or shapes the device cannot do.
  package convenience init(
    configuration: ModelConfiguration, type: ElementType, limits: RunnerLimits, store: KVStore, device: CPUDevice
  ) throws(HardwareError) {
    try self.init(shape: AttentionShape(configuration), type: type, limits: limits, store: store, device: device)
  }

  /// - Parameters:
  ///   - type: of the rows at the seam.
  ///   - takesShares: whether plans may have sequences of which some blocks lie elsewhere
  ///     (`SequenceStep.blocksBefore`).
  /// - Throws: `HardwareError` for memory or shapes the device cannot do.
  package init(
    shape: AttentionShape, type: ElementType, limits: RunnerLimits, store: KVStore, device: CPUDevice,
    takesShares: Bool = false
  ) throws(HardwareError) {
    self.device = device
    self.store = store
    blockTokens = limits.blockTokens
    windows = shape.windows
    scale = 1 / Float(shape.headDim).squareRoot()
    // Half of the ring is computed with while the other half is being read.
    let staging = store.cache.staging.map {
      AttentionBatch.Staging(
        firstBlock: store.cache.firstStaged,
        segmentBlocks: max($0.placeCount / 2, StagingRing.partitionBlocks(store.cache.layout)))
    }
    func batch(_ window: Int?) throws(HardwareError) -> AttentionBatch {
      try AttentionBatch(
        device: device, layout: store.cache.layout, queryHeads: shape.headCount, maxRows: limits.rows,
        maxSequences: limits.sequences, maxBlockEntries: limits.blockEntries, window: window,
        scratchBytes: limits.attentionScratchBytes, staging: staging, takesShares: takesShares)
    }
    full = shape.windows.contains(nil) ? try batch(nil) : nil
    windowed = if let window = shape.windows.compactMap({ $0 }).first { try batch(window) } else { nil }
    outputBuffer = try device.allocate(byteCount: limits.rows * shape.queryWidth * type.byteCount)
    output = outputBuffer.tensor(type, rows: limits.rows, columns: shape.queryWidth)
    sequences.reserveCapacity(limits.sequences)
    places.reserveCapacity(limits.sequences)
    if let region = store.cache.staging, let overflow = store.overflow {
      ring = StagingRing(store: overflow, region: region, layerCount: shape.layerCount)
    }
  }

  package func begin(_ plan: borrowing StepPlan) -> StepHandle {
    sequences.removeAll(keepingCapacity: true)
    places.removeAll(keepingCapacity: true)
    written = nil
    // Who only samples attends to nothing.
    for index in plan.sequences.indices where plan.sequences[index].rowCount > 0 {
      let step = plan.sequences[index]
      sequences.append(
        AttentionSequence(
          firstRow: step.firstRow, rowCount: step.rowCount, contextTokens: step.contextTokens,
          firstBlock: step.firstBlock, share: share(of: step)))
      places.append(Int32(index))
    }
    rowCount = plan.tokens.count
    if let full { prepare(full, plan) }
    if let windowed { prepare(windowed, plan) }
    ring?.begin { windows[$0] == nil ? full : windowed }
    return StepHandle(plan: plan.id)
  }

  /// Positions of the table that are here; nil: all.
  private func share(of step: SequenceStep) -> Range<Int32>? {
    let end = step.blocksBefore + step.blockCount
    if step.blocksBefore == 0 && Int(end) * blockTokens >= Int(step.contextTokens + step.rowCount) { return nil }
    return step.blocksBefore..<end
  }

  private func prepare(_ batch: AttentionBatch, _ plan: borrowing StepPlan) {
    let sequences = self.sequences
    batch.prepare(sequences: sequences.span, blocks: plan.blocks.span)
  }

  package func slots(layer: Int) -> KVSlots? {
    guard let batch = windows[layer] == nil ? full : windowed else { return nil }
    written = layer
    return KVSlots(cache: store.cache, layer: layer, batch: batch)
  }

  package func submit(layer: Int, microbatch: Int, q: Tensor, k: Tensor, v: Tensor) {
    attend(layer: layer, q: q, k: k, v: v, into: output.first(rowCount))
  }

  /// Writes the rows' keys and values and computes their output, A [rows, Hq × d], into `output`.
  package func attend(layer: Int, q: Tensor, k: Tensor, v: Tensor, into output: Tensor) {
    guard let batch = windows[layer] == nil ? full : windowed else { return }
    if written != layer { device.writeKV(k: k, v: v, into: KVSlots(cache: store.cache, layer: layer, batch: batch)) }
    written = nil
    device.attention(q: q, cache: store.cache, layer: layer, batch: batch, scale: scale, into: output)
    for segment in batch.segments {
      ring?.take(segment, of: batch)
      device.attention(
        segment: segment, q: q, cache: store.cache, layer: layer, batch: batch, scale: scale, into: output)
      ring?.giveBack(segment)
    }
  }

  /// Bytes of the running values that sequences which are here in part bring along, and that others go on with.
  package var incomingStateBytes: Int { (full ?? windowed)?.incomingStateBytes ?? 0 }
  package var outgoingStateBytes: Int { (full ?? windowed)?.outgoingStateBytes ?? 0 }

  /// The same for a step with such sequences: `taken` has the incoming values, `given` gets the outgoing ones. Output
  /// rows mean nothing where others go on.
  package func attend(
    layer: Int, q: Tensor, k: Tensor, v: Tensor, into output: Tensor, taking taken: UnsafeRawPointer?,
    giving given: UnsafeMutableRawPointer?
  ) {
    let batch = windows[layer] == nil ? full : windowed
    if let taken { batch?.takeStates(taken) }
    attend(layer: layer, q: q, k: k, v: v, into: output)
    if let given { batch?.giveStates(given) }
  }

  package func result(layer: Int, microbatch: Int) -> Tensor { output.first(rowCount) }

  package func end(_ handle: StepHandle) -> ResidencyChanges {
    var changes = ResidencyChanges()
    if let ring, !ring.incomplete.isEmpty { changes.incomplete = ring.incomplete.map { places[Int($0)] } }
    return changes
  }
}
