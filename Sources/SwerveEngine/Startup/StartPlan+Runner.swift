import SwerveCore
import SwerveHardware
import SwerveInference

extension StartPlan {
  /// What to load in which types, and the largest step.
  ///
  /// - Throws: `.configuration` for flags that contradict a packed weight file, `.model` for the file.
  static func runner(
    _ configuration: EngineConfiguration, files: ModelFiles, model: ModelConfiguration, layout: RankLayout? = nil
  ) throws(EngineStartError) -> RunnerConfiguration {
    var runner = RunnerConfiguration(
      model: model, type: RunnerConfiguration.elementType(configuration.dtype, model: model),
      quantization: RunnerConfiguration.weightFormat(configuration), weights: .checkpoint,
      limits: RunnerLimits(
        rows: configuration.mostRows,
        sequences: configuration.resolvedMaxSequences,
        contextTokens: configuration.maxModelLength.flatMap { $0 > 0 ? $0 : nil } ?? model.contextTokens,
        blockTokens: configuration.blockSize, drafts: configuration.speculation?.tokens ?? 0))
    if let overflow = configuration.overflow, overflow.storeBlocks > 0, overflow.makeStore != nil {
      runner.limits.stagingBlocks = overflow.stagingBlocks
    }
    switch configuration.loadFormat {
    case .safetensors: break
    case .dummy: runner.weights = .random(seed: UInt64(bitPattern: Int64(configuration.seed)))
    case .auto, .packed:
      if let packed = try packedFile(configuration, files: files) {
        runner.weights = .packed(weightBytes: packed.weightBytes, tableBytes: packed.tableBytes)
        runner.quantization = packed.index.quantization
        if configuration.dtype == .auto { runner.type = packed.index.type }
      }
    }
    runner.kvType = configuration.kvCacheType ?? KVType(runner.type)
    if let layout { runner.shape = layout.shape(0) }
    runner.microBatches = configuration.microBatches
    if case .packed = runner.weights, let layout { try checkShares(of: runner, layout) }
    if let gathering = configuration.gathering {
      if let layout, layout.computingCount > 1 {
        throw .configuration([
          "--placement gathered fetches the layers of one rank, not of \(layout.computingCount); leave --tensor-parallel-size "
            + "and --pipeline-parallel-size out."
        ])
      }
      runner.gathering = try gatheringPlan(gathering, of: runner, files: files)
    }
    return runner
  }

  /// Shares of packed matrices are whole blocks of them.
  private static func checkShares(
    of runner: RunnerConfiguration, _ layout: RankLayout
  ) throws(EngineStartError) {
    if layout.tensorSize == 1 || runner.canSharePacked(layout.tensorSize) { return }
    let legal = [1, 2, 4, 8].filter {
      $0 == 1 || RankLayout.isPossible(runner.model, $0, isExact: layout.isExact) && runner.canSharePacked($0)
    }
    throw .configuration([
      "--tensor-parallel-size \(layout.tensorSize) would cut blocks of this packed weight file"
        + (runner.quantization.flatMap { $0.roundsRows ? " (\($0.name) rounds whole rows)" : nil } ?? "")
        + "; possible "
        + (legal.count == 1 ? "is " : "are ") + legal.map(String.init).joined(separator: ", ")
        + ", or load the original weights (--load-format safetensors)."
    ])
  }

  /// What is fetched of the packed weights that the runner would use.
  private static func gatheringPlan(
    _ gathering: GatherConfiguration, of runner: RunnerConfiguration, files: ModelFiles
  ) throws(EngineStartError) -> RunnerConfiguration.Gathering {
    do {
      guard case .packed = runner.weights, let file = try PackedFile(files) else {
        throw EngineStartError.configuration([
          "--placement gathered reads layers from a packed weight file and \(files.place) is used without one; write it "
            + "with swerve quantize MODEL -o FOLDER (weights stay as they are without --quantization) and serve FOLDER."
        ])
      }
      return .init(
        plan: try GatherPlan(file.index, model: runner.model, depth: gathering.depth, path: file.path),
        source: gathering.source, path: file.path, rankCount: gathering.rankCount)
    } catch let error as EngineStartError {
      throw error
    } catch {
      throw .model("\(error)")
    }
  }

  /// The model's packed weights, where there are any and the flags do not ask for others.
  private static func packedFile(
    _ configuration: EngineConfiguration, files: ModelFiles
  ) throws(EngineStartError) -> PackedFile? {
    let packed: PackedFile?
    do { packed = try PackedFile(files) } catch { throw .model("\(error)") }
    guard let packed else {
      if configuration.loadFormat == .auto { return nil }
      throw .model(
        "\(files.path(PackedIndex.fileName)) is missing and --load-format packed asks for it; write it with swerve quantize"
      )
    }
    if let asked = RunnerConfiguration.weightFormat(configuration), asked != packed.index.quantization {
      throw .configuration([
        "--quantization asks for \(asked.name) and \(packed.path) holds weights in "
          + "\((packed.index.quantization ?? .plain(packed.index.type)).name); leave the flag out, or pack the original "
          + "weights again with swerve quantize."
      ])
    }
    return packed
  }
}

extension EngineConfiguration {
  /// Rows of the largest step.
  var mostRows: Int { max(resolvedMaxBatchedTokens, resolvedMaxSequences) }
}
