package import SwerveCore
import SwerveHardware
import SwerveInference
package import SwervePlacement

/// What a planner must know, from an engine's configuration: the model's sizes out of its files, this machine's rates by
/// measuring.
package struct PlacementProbe: Sendable {
  private let configuration: EngineConfiguration
  private let runner: RunnerConfiguration
  private let memoryPlan: MemoryPlan
  /// The packed weights, if that is what would be served.
  private let packedPath: String?
  package let shape: ModelShape

  /// Reads the model's configuration files.
  package init(_ configuration: EngineConfiguration) throws(EngineStartError) {
    var plain = configuration
    plain.gathering = nil
    self.configuration = plain
    let files = configuration.modelFolder.map { ModelFiles(folder: $0) } ?? StoryModel.files
    do {
      let model = try ModelConfiguration(files, overrides: configuration.configOverrides)
      runner = try StartPlan.runner(plain, files: files, model: model)
      memoryPlan = try MemoryPlan(runner, threads: configuration.threads ?? KernelPool.allowedCPUs.count)
    } catch let error as EngineStartError {
      throw error
    } catch {
      throw .model("\(error)")
    }
    if case .packed = runner.weights { packedPath = files.path(PackedIndex.fileName) } else { packedPath = nil }
    shape = Self.shape(runner, name: configuration.modelName)
  }

  private static func shape(_ runner: RunnerConfiguration, name: String) -> ModelShape {
    let model = runner.model
    let format = runner.policy.format(inputs: model.hiddenSize)
    let bytes = PackedWeight.byteCount(outputs: 1024, inputs: model.hiddenSize, format: format)
    return ModelShape(
      name: name, layers: model.layerCount, hidden: model.hiddenSize, queryHeads: model.headCount,
      kvHeads: model.keyValueHeadCount, headDim: model.headDim, intermediate: model.intermediateSize,
      vocabulary: model.vocabularySize, tiedEmbeddings: model.tiedEmbeddings,
      weightBytes: Double(bytes) / Double(1024 * model.hiddenSize),
      activationBytes: Double(runner.type.byteCount), kvBytes: Double(runner.kvType.byteCount))
  }

  /// The load that the configuration allows for.
  package func load(promptTokens: Int, outputTokens: Int, sequences: Int? = nil) -> Load {
    Load(
      sequences: sequences ?? configuration.resolvedMaxSequences, promptTokens: promptTokens,
      outputTokens: outputTokens, chunkTokens: configuration.resolvedMaxBatchedTokens,
      blockTokens: configuration.blockSize)
  }

  /// Measures this machine, which should be idle. The disk is measured where packed weights lie on it.
  package func measure() throws(EngineStartError) -> MachineDescription {
    let model = runner.model
    let memory = SystemMemory.current()
    let found: MachineProbe.Result
    let name: String
    let busy = BusyWatch()
    do {
      let device = try CPUDevice(
        configuration: CPUConfiguration(
          threadCount: configuration.threads, kernels: configuration.kernelSet.flatMap { KernelSet(rawValue: $0) },
          numa: configuration.numaBinding))
      name = device.name
      found = try MachineProbe(
        device: device,
        shape: KernelBenchmark.Shape(
          name: shape.name, hidden: model.hiddenSize, queryHeads: model.headCount, kvHeads: model.keyValueHeadCount,
          headDim: model.headDim, intermediate: model.intermediateSize, layers: model.layerCount,
          vocabulary: model.vocabularySize),
        type: runner.type, format: runner.policy.format(inputs: model.hiddenSize)
      ).measure()
    } catch {
      throw .device("\(error)")
    }
    let usable = min(Double(memory.totalBytes) * configuration.memoryUtilization, Double(memory.availableBytes))
    let device = DeviceDescription(
      name: name, memoryBytes: max(0, usable - Double(memoryPlan.fixedBytes - memoryPlan.weightBytes)),
      bytesPerSecond: found.bytesPerSecond, operationsPerSecond: found.operationsPerSecond,
      products: found.products.map { .init(rows: Double($0.rows), secondsPerByte: $0.secondsPerByte) },
      attentionOperationsPerSecond: found.attentionOperationsPerSecond, layerSeconds: found.layerSeconds,
      rowSeconds: found.rowSeconds, normSeconds: found.normSeconds)
    let disk = packedPath.flatMap { try? DiskSpeed.measure(path: $0, seconds: 0.25) }
    var machine = MachineDescription(
      devices: [device],
      link: LinkDescription(latencySeconds: found.exchangeSeconds, bytesPerSecond: found.copyBytesPerSecond),
      diskBytesPerSecond: disk, hostBytesPerSecond: found.copyBytesPerSecond)
    machine.busyShare = busy.othersShare
    return machine
  }
}
