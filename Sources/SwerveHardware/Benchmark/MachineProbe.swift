internal import CSwervePlatform
package import SwerveCore

/// A quick look at what this machine can do for one model: what a planner needs. Some hundredths of a second for
/// each number, while nothing else runs.
///
/// Products are those of a layer of the model's own shape, in its own format, for several numbers of rows: between the
/// memory's speed and the arithmetic's there is no formula that is as good as a look.
package struct MachineProbe {
  package struct Result: Sendable, Hashable {
    /// Read from memory by all threads.
    package var bytesPerSecond = 0.0
    /// Operations a second of products with many rows.
    package var operationsPerSecond = 0.0
    /// Seconds of a product for each byte of its weights, by rows, ascending.
    package var products: [Product] = []
    /// Operations a second of attention of a prompt.
    package var attentionOperationsPerSecond = 0.0
    /// What a layer costs beside products and attention: for itself, and for each row.
    package var layerSeconds = 0.0
    package var rowSeconds = 0.0
    /// The norms' part of `rowSeconds`.
    package var normSeconds = 0.0
    /// One way between two threads that sleep.
    package var exchangeSeconds = 0.0
    /// Copied by one thread.
    package var copyBytesPerSecond = 0.0
  }

  package struct Product: Sendable, Hashable {
    package var rows: Int
    package var secondsPerByte: Double
  }

  private let device: CPUDevice
  private let benchmark: KernelBenchmark
  private let type: ElementType
  private let format: WeightFormat

  /// - Parameter shape: of the model; larger ones than measuring needs are cut down.
  package init(device: CPUDevice, shape: KernelBenchmark.Shape, type: ElementType, format: WeightFormat) {
    self.device = device
    self.type = type
    self.format = format
    var options = KernelBenchmark.Options()
    options.shape = shape
    options.shape.hidden = min(shape.hidden, 4096)
    options.shape.intermediate = min(shape.intermediate, 8192)
    options.seconds = 0.04
    options.bandwidthBytes = 192 << 20
    benchmark = KernelBenchmark(device: device, options: options)
  }

  package func measure() throws(HardwareError) -> Result {
    var result = Result()
    // Taken between the others: what disturbs one of them does not disturb most.
    var bandwidths = [try benchmark.bandwidth(streams: 8)]
    try measureProducts(&result)
    bandwidths.append(try benchmark.bandwidth(streams: 8))
    try measureRows(&result)
    try measureAttention(&result)
    bandwidths.append(try benchmark.bandwidth(streams: 8))
    result.bytesPerSecond = bandwidths.sorted()[1]
    result.exchangeSeconds = max(swerve_exchange_seconds(2000) / 2, 1e-7)
    result.copyBytesPerSecond = try copySpeed()
    return result
  }

  /// Rows of a product at which arithmetic takes as long as reading the weights does: below, a step that is cut reads
  /// them more often and is no faster.
  package func balancedRows() throws(HardwareError) -> Int {
    let weight = try gateUp()
    let s = benchmark.options.shape
    let rows = 256
    let x = try device.allocate(byteCount: rows * s.hidden * type.byteCount)
    let y = try device.allocate(byteCount: rows * s.intermediate * type.byteCount)
    let rounded = format == .int8Dynamic ? try RoundedRows(device: device, rows: rows, inputs: s.hidden) : nil
    let seconds = typical {
      device.linear(
        x.tensor(type, rows: rows, columns: s.hidden), weight, epilogue: .siluMultiply, rounded: rounded,
        into: y.tensor(type, rows: rows, columns: s.intermediate))
    }
    let reading = Double(weight.byteCount) / (try benchmark.bandwidth(streams: 8))
    return max(1, Int((Double(rows) * reading / seconds).rounded(.up)))
  }

  // MARK: Parts

  /// A product of a layer.
  private struct LayerProduct {
    var weight: PackedWeight
    var epilogue: LinearEpilogue
    var isFloat: Bool
  }

  /// The four products of a layer: small ones are further from the limits than large ones.
  private func layerProducts() throws(HardwareError) -> [LayerProduct] {
    let s = benchmark.options.shape
    let query = s.queryHeads * s.headDim, kv = s.kvHeads * s.headDim
    func stacked(_ rows: [Int], _ columns: Int) throws(HardwareError) -> PackedWeight {
      try device.packRandom(rows: rows, columns: columns, seed: 1, scale: 0.02, type: type, format: format)
    }
    return [
      LayerProduct(weight: try stacked([query, kv, kv], s.hidden), epilogue: .store, isFloat: true),
      LayerProduct(weight: try stacked([s.hidden], query), epilogue: .accumulate, isFloat: true),
      LayerProduct(weight: try gateUp(), epilogue: .siluMultiply, isFloat: false),
      LayerProduct(weight: try stacked([s.hidden], s.intermediate), epilogue: .accumulate, isFloat: true),
    ]
  }

  private func measureProducts(_ result: inout Result) throws(HardwareError) {
    var layers = [try layerProducts()]
    let layerBytes = layers[0].reduce(0) { $0 + $1.weight.byteCount }
    // As many as no cache holds, or nearly.
    while layers.count * layerBytes < 160 << 20 && layers.count < 64 { layers.append(try layerProducts()) }
    let widest = layers[0].map(\.weight.inputs).max() ?? 0, longest = layers[0].map(\.weight.outputs).max() ?? 0
    let x = try device.allocate(byteCount: 512 * widest * type.byteCount)
    let y = try device.allocate(byteCount: 512 * longest * 4)
    let rounded = format.roundsRows ? try RoundedRows(device: device, rows: 512, inputs: widest) : nil
    for rows in [1, 4, 8, 16, 32, 64, 512] {
      // Many rows do not wait for memory: a part tells enough.
      let used = rows < 64 ? layers : Array(layers.prefix(2))
      let seconds = typical {
        for product in used.joined() {
          device.linear(
            x.tensor(type, rows: rows, columns: product.weight.inputs), product.weight, epilogue: product.epilogue,
            rounded: rounded,
            into: y.tensor(product.isFloat ? .float32 : type, rows: rows, columns: product.weight.outputs))
        }
      }
      result.products.append(Product(rows: rows, secondsPerByte: seconds / Double(used.count * layerBytes)))
      if rows == 512 {
        let numbers = layers[0].reduce(0) { $0 + $1.weight.inputs * $1.weight.outputs * ($1.isFloat ? 1 : 2) }
        result.operationsPerSecond = Double(used.count) * 2 * 512 * Double(numbers) / seconds
      }
    }
  }

  private func gateUp() throws(HardwareError) -> PackedWeight {
    let s = benchmark.options.shape
    return try device.packRandom(
      rows: [s.intermediate, s.intermediate], columns: s.hidden, seed: 1, scale: 0.02, type: type, format: format,
      layout: .interleaved16)
  }

  /// Norms and rotation of a layer.
  private func measureRows(_ result: inout Result) throws(HardwareError) {
    let s = benchmark.options.shape
    let rows = 256
    let width = (s.queryHeads + 2 * s.kvHeads) * s.headDim
    let residual = try device.allocate(byteCount: rows * s.hidden * 4)
    let normed = try device.allocate(byteCount: rows * s.hidden * type.byteCount)
    let weight = try device.allocate(byteCount: s.hidden * 4)
    let projected = try device.allocate(byteCount: rows * width * 4)
    let heads = try device.allocate(byteCount: rows * width * type.byteCount)
    let angles = try device.allocate(byteCount: rows * s.headDim * 4)
    let query = s.queryHeads * s.headDim
    let kv = s.kvHeads * s.headDim
    func norms(_ rows: Int) {
      for _ in 0..<2 {
        device.rmsNorm(
          residual.tensor(.float32, rows: rows, columns: s.hidden),
          weight: weight.tensor(.float32, rows: 1, columns: s.hidden), epsilon: 1e-6,
          into: normed.tensor(type, rows: rows, columns: s.hidden))
      }
    }
    func layer(_ rows: Int) {
      norms(rows)
      device.rotate(
        projected.tensor(.float32, rows: rows, columns: width),
        cosines: angles.tensor(.float32, rows: rows, columns: s.headDim / 2),
        sines: angles.tensor(.float32, rows: rows, columns: s.headDim / 2), headDim: s.headDim,
        q: heads.tensor(type, rows: rows, columns: query),
        k: heads.tensor(type, rows: rows, columns: kv, byteOffset: rows * query * type.byteCount),
        v: heads.tensor(type, rows: rows, columns: kv, byteOffset: rows * (query + kv) * type.byteCount))
    }
    let one = typical { layer(1) }
    let many = typical { layer(rows) }
    result.rowSeconds = max(0, many - one) / Double(rows - 1)
    result.normSeconds = min(typical { norms(rows) } / Double(rows), result.rowSeconds)
    // Beside these three: four products and attention. (The cache's new rows are written with the rotation.)
    result.layerSeconds = one + 5 * benchmark.barrier()
  }

  private func measureAttention(_ result: inout Result) throws(HardwareError) {
    var options = benchmark.options
    options.bandwidthBytes = 32 << 20
    var report = KernelReport(
      kernels: device.kernelSet, threads: device.threadCount, barrier: 0, oneStream: 0, manyStreams: 1)
    try KernelBenchmark(device: device, options: options).measureAttention(
      type, KVType(type), context: 512, &report
    ) { _ in }
    if let line = report.lines.last { result.attentionOperationsPerSecond = line.operations / line.seconds }
  }

  private func copySpeed() throws(HardwareError) -> Double {
    let count = 32 << 20
    let from = try device.allocate(byteCount: count)
    let to = try device.allocate(byteCount: count)
    for page in stride(from: 0, to: count, by: 4096) {
      from.pointer.storeBytes(of: UInt8(truncatingIfNeeded: page >> 12), toByteOffset: page, as: UInt8.self)
    }
    return Double(count) / typical { to.pointer.copyMemory(from: from.pointer, byteCount: count) }
  }

  /// Seconds of a call, half of as many as fit a few hundredths of a second: what a machine gives on average, not at its best.
  private func typical(_ body: () -> Void) -> Double { benchmark.typical(least: 1, most: 1000, share: 0.5, body) }
}
