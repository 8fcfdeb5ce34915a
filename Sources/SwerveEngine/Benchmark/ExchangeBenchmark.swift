package import SwerveCore
import SwerveHardware
import SwerveInference
import SwerveTransfer

/// What data workers cost a decode step beside attention itself: real workers and real messages in the shape of a
/// model of eight billion parameters, without its weights.
package struct ExchangeBenchmark: Sendable {
  /// Of the median step.
  package struct Line: Sendable {
    package var batch: Int
    package var workers: Int
    /// The whole step, and what is left of it without what the busiest worker computed. Seconds.
    package var stepSeconds: Double
    package var exchangeSeconds: Double
    /// Telling the workers what the step is. Seconds.
    package var beginSeconds: Double
    /// Writing, ringing and reading of the parameter worker, for each layer and worker. Seconds.
    package var codeSeconds: Double
  }

  package var layers = 32
  package var batches = [1, 8, 32]
  /// Tokens that each sequence has before the step.
  package var context = 30
  package var steps = 400
  package var workers = 1
  package var threads: Int?
  package var launch = DataWorkerConfiguration.Launch.thread
  package var version = "benchmark"

  package init() {}

  private var limits: RunnerLimits {
    let most = batches.max() ?? 1
    return RunnerLimits(rows: most, sequences: most, contextTokens: context + 1)
  }

  private var blocksEach: Int { context / limits.blockTokens + 1 }

  /// - Throws: `EngineStartError` where a worker does not start, `HardwareError` for memory.
  package func run(_ report: (Line) -> Void) throws {
    let device = try CPUDevice(configuration: CPUConfiguration(threadCount: threads))
    let shape = AttentionShape(
      headCount: 32, keyValueHeadCount: 8, headDim: 128, windows: [Int?](repeating: nil, count: layers))
    var greeting = WorkerGreeting(
      version: version, fingerprint: [1], worker: 0, epoch: 0, type: .bfloat16, kvType: .bfloat16,
      kernels: device.kernelSet.rawValue, threads: device.threadCount,
      sharesCores: WorkerCPUs.isShared(threads: device.threadCount, workers: workers), headCount: shape.headCount,
      keyValueHeadCount: shape.keyValueHeadCount, headDim: shape.headDim, windows: shape.windows,
      limits: StepMessage.Limits(
        rows: limits.rows, sequences: limits.sequences, contextTokens: limits.contextTokens,
        blockTokens: limits.blockTokens, blockCount: limits.sequences * blocksEach), deadline: 30)
    if case .process = launch { greeting.takesTurns = greeting.sharesCores }
    var configuration = DataWorkerConfiguration()
    configuration.count = workers
    configuration.maximum = workers
    configuration.launch = launch
    let layout = try shape.layout(type: .bfloat16, blockTokens: limits.blockTokens)
    let set = DataSet(
      greeting, configuration, blockBytes: layout.blockBytes, parameterBytes: { device.memoryInUseBytes },
      onNotice: { _ in })
    try set.start()
    defer { set.close() }
    if greeting.sharesCores { device.confineCallingThread(to: 0) }
    defer { CPUDevice.releaseCallingThread() }
    let attention = try FanoutAttention(
      shape: shape, type: .bfloat16, limits: limits, workers: set, device: device)
    let rows = try device.allocate(byteCount: limits.rows * (shape.queryWidth + 2 * shape.keyValueWidth) * 2)
    var number: UInt64 = 0
    for batch in batches {
      var found: [Line] = []
      for _ in 0..<steps {
        number += 1
        found.append(try step(plan(number, batch), attention, set, shape, rows))
      }
      found.sort { $0.exchangeSeconds < $1.exchangeSeconds }
      report(found[found.count / 2])
    }
  }

  /// Sequences over the workers in turn, each with its own blocks.
  private func plan(_ number: UInt64, _ batch: Int) -> StepPlan {
    var plan = StepPlan()
    plan.id = number
    for index in 0..<batch {
      plan.sequences.append(
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: UInt64(index)), index: 0), slot: SlotID(index),
          firstRow: Int32(index), rowCount: 1, contextTokens: Int32(context), promptTokens: 1,
          firstBlock: Int32(plan.blocks.count), blockCount: Int32(blocksEach), samples: true))
      plan.tokens.append(0)
      let first = index % workers * limits.sequences * blocksEach + index / workers * blocksEach
      for block in first..<first + blocksEach { plan.blocks.append(BlockID(block)) }
    }
    return plan
  }

  private func step(
    _ plan: StepPlan, _ attention: FanoutAttention, _ set: DataSet, _ shape: AttentionShape,
    _ memory: borrowing DeviceBuffer
  ) throws -> Line {
    let count = plan.tokens.count
    let query = memory.tensor(.bfloat16, rows: count, columns: shape.queryWidth)
    let offset = limits.rows * shape.queryWidth * 2
    let key = memory.tensor(.bfloat16, rows: count, columns: shape.keyValueWidth, byteOffset: offset)
    func spent(_ part: (LinkTraffic) -> UInt64) -> [UInt64] { set.links.map { $0.map { part($0.traffic) } ?? 0 } }
    let busy = spent { $0.busyNanoseconds }
    let begin = TransferClock.now
    let handle = attention.begin(plan)
    let begun = TransferClock.now
    let code = spent { $0.postNanoseconds + $0.doneNanoseconds }
    for layer in 0..<layers {
      let places = attention.places(layer: layer, microbatch: 0, rows: count)
      attention.submit(
        layer: layer, microbatch: 0, q: places?.q ?? query, k: places?.k ?? key, v: places?.v ?? key)
      _ = try attention.result(layer: layer, microbatch: 0)
    }
    _ = attention.end(handle)
    let end = TransferClock.now
    let computed = zip(spent { $0.busyNanoseconds }, busy).map { $0 - $1 }.max() ?? 0
    let written = zip(spent { $0.postNanoseconds + $0.doneNanoseconds }, code).reduce(0) { $0 + $1.0 - $1.1 }
    return Line(
      batch: count, workers: workers, stepSeconds: Double(end - begin) * 1e-9,
      exchangeSeconds: (Double(end - begin) - Double(computed)) * 1e-9, beginSeconds: Double(begun - begin) * 1e-9,
      codeSeconds: Double(written) * 1e-9 / Double(layers * min(workers, count)))
  }
}
