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

  /// What attention of a step takes, in all layers.
  package struct Attention: Sendable, Hashable {
    /// Keys and values that decoding sequences read.
    package var bytes: Double
    /// Arithmetic of prompts' rows.
    package var operations: Double

    package init(bytes: Double = 0, operations: Double = 0) {
      self.bytes = bytes
      self.operations = operations
    }
  }

  /// The mean of the load: a decoding row reads its context once, a prompt's row sees half of the prompt.
  package func attention(decodeRows: Double, promptRows: Double) -> Attention {
    Attention(
      bytes: decodeRows * load.contextTokens * model.tokenKVBytes,
      operations: model.attentionOperations * promptRows * Double(load.promptTokens) / 2)
  }

  private func seconds(_ attention: Attention, _ device: DeviceDescription, _ share: Double = 1) -> Double {
    share * (attention.bytes / device.bytesPerSecond + attention.operations / device.attentionOperationsPerSecond)
  }

  /// 2 all-reduces a layer of n ranks: a message each way in every level of the tree. Ranks of one device add and store
  /// what they exchanged through the same memory: three ways instead of one.
  package func reductions(rows: Double, ranks: Int) -> Double {
    guard ranks > 1 else { return 0 }
    var levels = 0
    while 1 << levels < ranks { levels += 1 }
    let bytes = rows * Double(model.hidden) * Self.reductionBytes
    return 2 * Double(model.layers) * Double(levels) * machine.link.seconds(isShared ? 3 * bytes : bytes)
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
    estimate.sequences = min(load.sequences, Int(Double(estimate.blocks) / meanBlocksOfSequence))
    let rows = Double(estimate.sequences)
    estimate.decodeSeconds = step(placement, decodeRows: rows, promptRows: 0)
    estimate.prefillSeconds = step(placement, decodeRows: 0, promptRows: chunkRows)
    estimate.linkBytesPerToken = linkBytes(placement)
    estimate.tokensPerSecond = throughput(placement, estimate)
    return estimate
  }

  /// Blocks of a sequence at its end, and on average while it decodes.
  package var blocksOfSequence: Int { (load.longestTokens + load.blockTokens - 1) / load.blockTokens }
  var meanBlocksOfSequence: Double { (load.contextTokens + Double(load.blockTokens) / 2) / Double(load.blockTokens) }

  private var chunkRows: Double { Double(min(load.chunkTokens, load.promptTokens)) }

  /// Output tokens a second with prompts and decoding in the same steps: every sequence decodes a row a step, and in some
  /// steps prompts of those that come next are computed beside them.
  private func throughput(_ placement: Placement, _ estimate: Estimate) -> Double {
    let ratio = Double(load.promptTokens) / Double(load.outputTokens)
    if case .disaggregated(let prefill, let decode) = placement, !isShared {
      // The slower of the two sides, each as often as there are groups of it.
      let prompts = chunkRows / ratio / estimate.prefillSeconds * Double(prefill)
      return min(prompts, Double(estimate.sequences) / estimate.decodeSeconds * Double(decode))
    }
    let budget = Double(load.chunkTokens)
    // More sequences than can be kept supplied with prompts do not decode at once.
    let rows = min(Double(estimate.sequences), budget / (1 + ratio))
    let promptRows = max(1, min(budget - rows, max(chunkRows, rows * ratio)))
    let share = min(1, rows * ratio / promptRows)
    let plain = step(placement, decodeRows: rows, promptRows: 0)
    let mixed = step(placement, decodeRows: rows, promptRows: promptRows)
    return rows / ((1 - share) * plain + share * mixed)
  }

  /// Seconds of a step of the mean of the load.
  package func step(_ placement: Placement, decodeRows: Double, promptRows: Double) -> Double {
    step(
      placement, rows: decodeRows + promptRows,
      headRows: decodeRows + (promptRows > 0 ? max(1, promptRows / Double(load.promptTokens)) : 0),
      attention: attention(decodeRows: decodeRows, promptRows: promptRows))
  }

  /// Seconds of a step.
  ///
  /// - Parameters:
  ///   - headRows: rows whose logits are needed.
  ///   - shares: of attention, for each data worker; nil = equal ones.
  package func step(
    _ placement: Placement, rows: Double, headRows: Double, attention: Attention, shares: [Double]? = nil
  ) -> Double {
    func whole(_ device: DeviceDescription) -> Double {
      products(device, rows: rows, headRows: headRows) + seconds(attention, device)
    }
    let first = device(0)
    switch placement {
    case .unified, .disaggregated: return whole(first)
    case .tensor(let count):
      // The slowest rank; on one device all together have its rates.
      let share = isShared ? 1 : 1 / Double(count)
      let slowest = (0..<(isShared ? 1 : count)).map { rank in
        products(device(rank), rows: rows, share: share, headRows: headRows) + seconds(attention, device(rank), share)
      }
      // Each rank computes the norms of all rows, on one device with its part of the cores.
      let norms = isShared ? Double(model.layers) * rows * first.normSeconds * Double(count - 1) : 0
      return (slowest.max() ?? 0) + norms + reductions(rows: rows, ranks: count)
    case .pipeline(let count):
      let stages = Double(count)
      let boundary = machine.link.seconds(rows * Double(model.hidden) * model.activationBytes)
      let through = (0..<count).map { whole(device($0)) / stages + boundary }.reduce(0, +)
      if isShared {
        // Each stage has its part of the cores, and steps of few rows come in one piece: then one stage works at a time.
        let pieces = Double(StepPieces.count(rows: Int(rows), stages: count))
        return whole(first) * (pieces + stages - 1) / pieces + stages * boundary
      }
      // Rows in as many micro-batches as stages keep all of them busy, where that does not read weights more often.
      let split = (0..<count).map { stage in
        (products(device(stage), rows: rows / stages, headRows: headRows / stages)
          + seconds(attention, device(stage), 1 / stages)) / stages + boundary
      }
      return min(through, stages * (split.max() ?? 0))
    case .separated(let count):
      let parameters = products(first, rows: rows, headRows: headRows)
      let link = exchanges(rows: rows)
      if isShared { return parameters + seconds(attention, first) + link }
      let data = (0..<count).map { seconds(attention, device($0 + 1), shares?[$0] ?? 1 / Double(count)) }.max() ?? 0
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
