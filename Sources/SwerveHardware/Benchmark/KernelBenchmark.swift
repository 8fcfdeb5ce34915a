// The machine's limits and each kernel's share of them. It must not load a model or print.
// Start with KernelBenchmark below; KernelReport.swift is what it returns.

internal import CSwerveKernels
internal import CSwervePlatform
package import SwerveCore

/// Measures the machine's limits, then each kernel as a share of them: what `swerve bench kernels` prints.
///
/// Weights are cycled through copies larger than any cache, so that a decode row reads memory as a model does.
package struct KernelBenchmark {
  /// The shapes of one decoder model.
  package struct Shape: Sendable {
    package var name: String
    package var hidden: Int
    package var queryHeads: Int
    package var kvHeads: Int
    package var headDim: Int
    package var intermediate: Int
    package var layers: Int
    package var vocabulary: Int

    package init(
      name: String, hidden: Int, queryHeads: Int, kvHeads: Int, headDim: Int, intermediate: Int, layers: Int,
      vocabulary: Int
    ) {
      self.name = name
      self.hidden = hidden
      self.queryHeads = queryHeads
      self.kvHeads = kvHeads
      self.headDim = headDim
      self.intermediate = intermediate
      self.layers = layers
      self.vocabulary = vocabulary
    }

    /// Qwen2.5-0.5B's configuration.
    package static let half = Shape(
      name: "0.5B", hidden: 896, queryHeads: 14, kvHeads: 2, headDim: 64, intermediate: 4864, layers: 24,
      vocabulary: 151_936)
  }

  package struct Options: Sendable {
    package var shape = Shape.half
    package var types: [ElementType] = [.bfloat16]
    /// Formats of weights that are measured with each type besides its plain one.
    package var formats: [WeightFormat] = [
      .int8, .int4(group: 128), .nf4(group: 64), .int8Dynamic, .int4Dynamic(group: 128),
    ]
    /// Rows of a step.
    package var rows = [1, 8, 32, 512]
    /// Tokens in the cache for attention.
    package var contexts = [1024]
    /// Types of the cache that attention is measured with, at each of these contexts, besides `types` at `contexts`.
    package var kvTypes: [KVType] = []
    package var kvContexts: [Int] = []
    /// Least seconds a measurement runs.
    package var seconds = 0.2
    /// Bytes read for the bandwidth figures; must be well above the caches.
    package var bandwidthBytes = 512 << 20

    package init() {}
  }

  package let device: CPUDevice
  package let options: Options

  package init(device: CPUDevice, options: Options) {
    self.device = device
    self.options = options
  }

  /// Runs everything. Takes a few seconds a type; needs about the model's weights in memory.
  ///
  /// - Parameter progress: called with each line as it is measured.
  package func run(progress: (KernelReport.Line) -> Void = { _ in }) throws(HardwareError) -> KernelReport {
    var report = KernelReport(
      kernels: device.kernelSet, threads: device.threadCount, barrier: barrier(), oneStream: try bandwidth(streams: 1),
      manyStreams: try bandwidth(streams: 8))
    if options.formats.contains(where: \.roundsRows) { report.bytePeak = peak(.float32, bytes: true) }
    for type in options.types {
      report.peaks[type] = peak(type)
      for format in [.plain(type)] + options.formats { try measureLinears(type, format, &report, progress) }
      for context in options.contexts {
        try measureAttention(type, KVType(type), context: context, &report, progress)
      }
      for context in options.kvContexts {
        for kvType in options.kvTypes { try measureAttention(type, kvType, context: context, &report, progress) }
      }
    }
    return report
  }

  /// Bytes a second read from memory by all threads, each from `streams` places at once.
  package func bandwidth(streams: Int) throws(HardwareError) -> Double {
    let buffer = try device.allocate(byteCount: options.bandwidthBytes)
    let piece = 4 << 20
    let units = options.bandwidthBytes / piece
    // Untouched pages are all one page of zeros.
    for page in stride(from: 0, to: buffer.byteCount, by: 4096) {
      buffer.pointer.storeBytes(of: UInt8(truncatingIfNeeded: page >> 12), toByteOffset: page, as: UInt8.self)
    }
    var sink: UInt64 = 0
    let seconds = withUnsafeMutablePointer(to: &sink) { sink in
      let job = swerve_read_job(
        memory: buffer.pointer, bytes_per_unit: piece, streams: Int32(min(16, max(1, streams))), sink: sink)
      return typical { device.pool.run(swerve_read_task, job, units: units, grain: 1) }
    }
    return Double(units * piece) / seconds
  }

  /// Seconds of one empty run of the pool: hand-over to all workers that come in time, and the wait for them.
  package func barrier() -> Double {
    let runs = 1000
    return typical { device.pool.runEmpty(runs) } / Double(runs)
  }

  /// Operations a second of the matrix loop out of the first-level cache, all threads.
  ///
  /// - Parameter bytes: of products of int8, whatever the type.
  package func peak(_ type: ElementType, bytes: Bool = false) -> Double {
    let repeats = device.kernelSet == .scalar || device.kernelSet == .amxEmulated ? 4 : 200
    let job = swerve_peak_job(kernels: device.kernels, type: type.kernelType, repeats: repeats, bytes: bytes)
    let units = 8 * device.threadCount
    let seconds = typical { device.pool.run(swerve_peak_task, job, units: units) }
    return withUnsafePointer(to: job) { swerve_peak_operations($0) } * Double(units) / seconds
  }

  /// Seconds of a call, after one that warms up: the fastest quarter's slowest, so that what other processes take for a
  /// while is left out alike of limits and kernels. Of at least `least` and at most `most` calls; between them, of those
  /// that fit the time of the options.
  ///
  /// - Parameter share: of the calls that are faster than what is answered.
  func typical(least: Int = 8, most: Int = .max, share: Double = 0.25, _ body: () -> Void) -> Double {
    body()
    var samples: [Double] = []
    let clock = ContinuousClock()
    let start = clock.now
    repeat {
      let begin = clock.now
      body()
      samples.append((clock.now - begin) / .seconds(1))
    } while samples.count < least || samples.count < most && (clock.now - start) / .seconds(1) < options.seconds
    samples.sort()
    return samples[Int(Double(samples.count) * share)]
  }
}
