package import SwerveCore
import SwerveHardware

/// Bytes a runner will take, known from its configuration alone: for the memory table, `--dry-run` and the size of the
/// KV pool: of one rank where there are several. Upper bounds of what is allocated; scratch is taken from the system only as steps reach it.
package struct MemoryPlan: Sendable, Hashable {
  /// Packed weights, biases and norms; those of a packed weight file too, for every step reads all of them. Where they
  /// are gathered, the ring that they are fetched into.
  package var weightBytes: Int
  /// An embedding table that stays in its file: mapped, resident where tokens touched it, given back under pressure.
  package var mappedBytes: Int
  /// Activations of the largest step.
  package var activationBytes: Int
  /// Attention's plan and partial results.
  package var attentionBytes: Int
  /// Logits and the sampler's scratch.
  package var samplingBytes: Int
  /// One KV block in all layers.
  package var blockBytes: Int

  /// Everything but the KV pool and mapped files.
  package var fixedBytes: Int { weightBytes + activationBytes + attentionBytes + samplingBytes }

  /// - Parameter threads: kernel threads of the device.
  /// - Throws: `ModelFileError` where the device cannot hold keys and values of this shape.
  package init(_ configuration: RunnerConfiguration, threads: Int) throws(ModelFileError) {
    let whole = configuration.model
    let shape = configuration.shape
    let c = configuration.share
    let type = configuration.type
    let limits = configuration.limits
    let policy = configuration.policy
    func packed(
      _ outputs: Int, _ inputs: Int, _ format: WeightFormat, bias: Bool = false, layout: PackedLayout = .stacked
    ) -> Int {
      let blocks = (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1)
      return PackedWeight.byteCount(outputs: outputs, inputs: inputs, format: format, layout: layout)
        + (bias ? blocks * 64 : 0)
    }
    let wide = policy.format(inputs: c.hiddenSize)
    let layer =
      packed(c.queryKeyValueWidth, c.hiddenSize, wide, bias: c.queryKeyValueBias)
      + packed(
        c.hiddenSize, c.queryWidth, policy.format(inputs: whole.queryWidth, segments: whole.policySegments(shape)),
        bias: c.outputBias)
      + packed(c.intermediateSize, c.hiddenSize, wide, bias: c.mlpBias, layout: .interleaved16)
      + packed(
        c.hiddenSize, c.intermediateSize,
        policy.format(inputs: whole.intermediateSize, segments: whole.policySegments(shape)),
        bias: c.mlpBias)
    let table = packed(shape.vocabulary(c.vocabularySize).count, c.hiddenSize, policy.headFormat)
    let hasHead = shape.isLastStage || c.tiedEmbeddings && shape.isFirstStage
    weightBytes = c.layerCount * layer + (hasHead ? table : 0) + whole.normElements * 4
    mappedBytes = 0
    if case .packed(let packed, let tables) = configuration.weights {
      weightBytes = packed / (shape.stageCount * shape.tensorSize)
      mappedBytes = tables
      if let plan = configuration.gathering?.plan {
        weightBytes = plan.residentBytes + (configuration.gathering?.shareBytes ?? 0)
        mappedBytes = plan.embeddingBytes
      }
    } else if !c.tiedEmbeddings, shape.isFirstStage {
      if configuration.weights == .checkpoint {
        mappedBytes = c.vocabularySize * c.hiddenSize * (c.checkpointType ?? type).byteCount
      } else {
        weightBytes += table
      }
    }
    activationBytes = Activations.byteCount(c, type: type, rows: limits.rows, roundsRows: policy.roundsRows)
    activationBytes += TensorGroup.byteCount(shape, type: type, rows: limits.rows, columns: c.hiddenSize)
    let tileRows = configuration.tileRows
    samplingBytes =
      OutputHead.byteCount(c, type: type, tileRows: tileRows)
      + Sampler.byteCount(vocabularySize: c.vocabularySize, tileRows: tileRows, threads: threads)
    attentionBytes = Self.attentionBytes(c, type: type, limits: limits, threads: threads)
    do {
      let layout = try c.layout(type: configuration.kvType, blockTokens: limits.blockTokens)
      blockBytes = layout.blockBytes
      attentionBytes += limits.stagingBlocks * layout.blockLayerBytes
    } catch {
      throw ModelFileError(file: ModelConfiguration.fileName, reason: "\(error)")
    }
  }

  /// Output rows, and for layers with and without a window a plan with its partial results.
  private static func attentionBytes(
    _ c: ModelConfiguration, type: ElementType, limits: RunnerLimits, threads: Int
  ) -> Int {
    let batches = (c.windows.contains(nil) ? 1 : 0) + (c.windows.contains { $0 != nil } ? 1 : 0)
    let tiles = limits.rows * (c.headCount / c.keyValueHeadCount) / 32 + limits.sequences + 1
    let items = 3 * tiles + 16 * threads
    let states =
      limits.stagingBlocks == 0
      ? 0 : AttentionBatch.stateBytes(rows: limits.rows, queryHeads: c.headCount, headDim: c.headDim)
    let batch = 48 * items + 4 * limits.blockEntries + 8 * limits.rows + limits.attentionScratchBytes + states
    return limits.rows * c.queryWidth * type.byteCount + batches * batch
  }

  /// The sum over ranks that share this machine; `threads` are shared among them.
  package init(
    _ configuration: RunnerConfiguration, ranks: RankLayout, threads: Int
  ) throws(ModelFileError) {
    let threads = max(1, threads / ranks.computingCount)
    try self.init(configuration, threads: threads)
    weightBytes += ranks.holderCount * (configuration.gathering?.shareBytes ?? 0)
    for rank in 1..<max(1, ranks.computingCount) {
      var other = configuration
      other.shape = ranks.shape(rank)
      let plan = try MemoryPlan(other, threads: threads)
      weightBytes += plan.weightBytes
      activationBytes += plan.activationBytes
      attentionBytes += plan.attentionBytes
      samplingBytes += other.shape.isLastStage ? plan.samplingBytes : 0
      blockBytes += plan.blockBytes
    }
  }
}
