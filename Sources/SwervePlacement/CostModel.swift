package import SwerveCore

/// The formulas: seconds of a step and room for blocks, for each placement. Devices of a machine with one device are cut
/// into equal parts where a placement needs several: they share its cores and its memory.
package struct CostModel: Sendable {
  package let model: ModelShape
  package let machine: MachineDescription
  package let load: Load
  /// Virtual shards of a sum (a tensor group adds them in a tree).
  package static let reductionBytes = 4.0

  package init(model: ModelShape, machine: MachineDescription, load: Load) {
    self.model = model
    self.machine = machine
    self.load = load
  }

  /// Whether roles take turns on the same cores instead of working side by side.
  private var isShared: Bool { machine.devices.count == 1 }

  private func device(_ index: Int) -> DeviceDescription { machine.devices[min(index, machine.devices.count - 1)] }

  // MARK: Parts of a step

  /// Products of `share` of all layers (and the head where it is needed), of `rows` rows.
  package func products(_ device: DeviceDescription, rows: Double, share: Double = 1, headRows: Double) -> Double {
    let layers = model.layerBytes * Double(model.layers) * share
    let rate = device.secondsPerByte(rows: rows, weightBytes: model.weightBytes)
    let head = headRows > 0 ? device.secondsPerByte(rows: headRows, weightBytes: model.weightBytes) : 0
    return layers * rate + model.headBytes * share * head
      + Double(model.layers) * (device.layerSeconds + rows * device.rowSeconds)
  }

  /// Attention of decoding sequences: their keys and values are read once.
  package func decodeAttention(_ device: DeviceDescription, rows: Double, share: Double = 1) -> Double {
    rows * load.contextTokens * model.tokenKVBytes * share / device.bytesPerSecond
  }

  /// Attention of a chunk that begins a prompt: each row sees those before it.
  package func prefillAttention(_ device: DeviceDescription, rows: Double, share: Double = 1) -> Double {
    model.attentionOperations * rows * rows / 2 * share / device.attentionOperationsPerSecond
  }

  /// 2 all-reduces a layer of n ranks: a message each way in every level of the tree.
  package func reductions(rows: Double, ranks: Int) -> Double {
    guard ranks > 1 else { return 0 }
    var levels = 0
    while 1 << levels < ranks { levels += 1 }
    let bytes = rows * Double(model.hidden) * Self.reductionBytes
    return 2 * Double(model.layers) * Double(levels) * machine.link.seconds(bytes)
  }

  /// q, k, v out and attention back, in every layer.
  package func exchanges(rows: Double) -> Double {
    let bytes = exchangeBytes(rows: rows)
    return 2 * Double(model.layers) * machine.link.latencySeconds + bytes / machine.link.bytesPerSecond
  }

  /// L · s · d · (2 Hq + 2 Hkv) for each row.
  package func exchangeBytes(rows: Double) -> Double {
    rows * Double(model.layers * model.headDim * (2 * model.queryHeads + 2 * model.kvHeads)) * model.activationBytes
  }

  // MARK: Placements

  package func estimate(_ placement: Placement) -> Estimate {
    var estimate = Estimate(placement: placement)
    if let refusal = refusal(placement) {
      estimate.refusal = refusal
      return estimate
    }
    (estimate.parameterBytes, estimate.blocks) = room(placement)
    if estimate.blocks < blocksOfSequence {
      estimate.refusal =
        "its weights leave room for \(estimate.blocks) blocks and one sequence needs \(blocksOfSequence)"
      return estimate
    }
    estimate.sequences = min(load.sequences, estimate.blocks / blocksOfSequence)
    let rows = Double(estimate.sequences)
    let chunk = Double(min(load.chunkTokens, load.promptTokens))
    estimate.decodeSeconds = step(placement, rows: rows, isPrefill: false)
    estimate.prefillSeconds = step(placement, rows: chunk, isPrefill: true)
    estimate.linkBytesPerToken = linkBytes(placement)
    let prompts = rows * Double(load.promptTokens) / chunk * estimate.prefillSeconds
    let decoding = Double(load.outputTokens) * estimate.decodeSeconds
    let output = rows * Double(load.outputTokens)
    if case .disaggregated(let prefill, let decode) = placement, !isShared {
      // The slower of the two sides, each as often as there are groups of it.
      estimate.tokensPerSecond = min(output / prompts * Double(prefill), output / decoding * Double(decode))
    } else {
      estimate.tokensPerSecond = output / (prompts + decoding)
    }
    return estimate
  }

  /// Blocks of a sequence at its end.
  package var blocksOfSequence: Int { (load.longestTokens + load.blockTokens - 1) / load.blockTokens }

  /// Seconds of a step with so many rows: of as many sequences, or of one prompt.
  package func step(_ placement: Placement, rows: Double, isPrefill: Bool) -> Double {
    let headRows = isPrefill ? 1 : rows
    func attention(_ device: DeviceDescription, _ share: Double = 1) -> Double {
      isPrefill
        ? prefillAttention(device, rows: rows, share: share) : decodeAttention(device, rows: rows, share: share)
    }
    func whole(_ device: DeviceDescription) -> Double {
      products(device, rows: rows, headRows: headRows) + attention(device)
    }
    let first = device(0)
    switch placement {
    case .unified, .disaggregated: return whole(first)
    case .tensor(let count):
      // The slowest rank; on one device all together have its rates.
      let share = isShared ? 1 : 1 / Double(count)
      let slowest = (0..<(isShared ? 1 : count)).map { rank in
        products(device(rank), rows: rows, share: share, headRows: headRows) + attention(device(rank), share)
      }
      return (slowest.max() ?? 0) + reductions(rows: rows, ranks: count)
    case .pipeline(let count):
      let boundary = machine.link.seconds(rows * Double(model.hidden) * model.activationBytes)
      let stages = (0..<count).map { whole(device($0)) / Double(count) + boundary }
      // Rows in as many micro-batches as stages keep all of them busy, where that does not read weights more often.
      if isShared || isPrefill { return stages.reduce(0, +) }
      let part = rows / Double(count)
      let split = (0..<count).map { stage in
        (products(device(stage), rows: part, headRows: part) + decodeAttention(device(stage), rows: part))
          / Double(count) + boundary
      }
      return min(stages.reduce(0, +), Double(count) * (split.max() ?? 0))
    case .separated(let count):
      let parameters = products(first, rows: rows, headRows: headRows)
      if isShared { return parameters + attention(first) + exchanges(rows: rows) }
      let share = 1 / Double(count)
      let data = (1...count).map { attention(device($0), share) }.max() ?? 0
      let link = exchanges(rows: rows)
      // One batch goes around, or two in turns: then a side is never waited for, and weights are read twice.
      let half = products(first, rows: rows / 2, headRows: headRows / 2)
      return min(parameters + data + link, max(2 * half, data + link))
    case .gathered(let source, _):
      let fetched = (Double(model.layers) * model.layerBytes + model.headBytes) / rate(of: source)
      // Copies from the memory of the device itself take its own cores' time.
      return source == .host && isShared ? whole(first) + fetched : max(whole(first), fetched)
    }
  }

  /// Bytes a second at which weights are fetched.
  package func rate(of source: GatherConfiguration.Source) -> Double {
    switch source {
    case .nvme: machine.diskBytesPerSecond ?? 0
    case .host: machine.hostBytesPerSecond
    case .peers: isShared ? machine.hostBytesPerSecond : machine.link.bytesPerSecond
    }
  }

  /// Bytes that cross links for a token of output.
  private func linkBytes(_ placement: Placement) -> Double {
    switch placement {
    case .unified, .gathered: return 0
    case .tensor(let count):
      return 2 * Double(model.layers * model.hidden) * model.activationBytes * 2 * Double(count - 1) / Double(count)
    case .pipeline(let count): return Double((count - 1) * model.hidden) * model.activationBytes
    case .separated: return exchangeBytes(rows: 1)
    case .disaggregated: return model.tokenKVBytes * Double(load.promptTokens) / Double(max(load.outputTokens, 1))
    }
  }
}
