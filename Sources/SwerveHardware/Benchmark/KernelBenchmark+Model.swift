internal import SwerveCore

extension KernelBenchmark {
  /// One kind of product in the model.
  private struct Product {
    var name: String
    var weights: [PackedWeight]
    var epilogue: LinearEpilogue
    var isFloat: Bool
  }

  /// Every product of the shape over all layers, then all of them as in one step.
  func measureLinears(
    _ type: ElementType, _ format: WeightFormat, _ report: inout KernelReport, _ progress: (KernelReport.Line) -> Void
  ) throws(HardwareError) {
    let s = options.shape
    let attention = s.queryHeads * s.headDim, kv = s.kvHeads * s.headDim
    let widest = max(s.hidden, attention, s.intermediate)
    let most = options.rows.max() ?? 1
    let rounded = format.roundsRows ? try RoundedRows(device: device, rows: most, inputs: widest) : nil
    let products = [
      Product(
        name: "linear q+k+v", weights: try weights([attention, kv, kv], s.hidden, type, format), epilogue: .store,
        isFloat: true
      ),
      Product(
        name: "linear o", weights: try weights([s.hidden], attention, type, format), epilogue: .accumulate,
        isFloat: true),
      Product(
        name: "linear gate+up",
        weights: try weights([s.intermediate, s.intermediate], s.hidden, type, format, .interleaved16),
        epilogue: .siluMultiply, isFloat: false),
      Product(
        name: "linear down", weights: try weights([s.hidden], s.intermediate, type, format), epilogue: .accumulate,
        isFloat: true),
      Product(
        name: "linear head", weights: try weights([s.vocabulary], s.hidden, type, format, layers: 1), epilogue: .store,
        isFloat: true),
    ]
    for rows in options.rows {
      // Logits of many rows are never wanted at once.
      let used = products.filter { $0.name != "linear head" || rows <= 64 }
      var bytes = 0.0, operations = 0.0
      for product in used {
        let line = try measure(product, rows: rows, type: type, rounded: rounded)
        report.lines.append(line)
        progress(line)
        bytes += line.bytes * Double(product.weights.count)
        operations += line.operations * Double(product.weights.count)
      }
      let seconds = try secondsOfStep(used, rows: rows, type: type, rounded: rounded)
      let step = KernelReport.Line(
        name: "all linears", type: type, format: format, rows: rows, seconds: seconds, bytes: bytes,
        operations: operations)
      report.lines.append(step)
      progress(step)
    }
  }

  /// Every product once, layer after layer, as a step runs them: no cache helps from one to the next.
  private func secondsOfStep(_ products: [Product], rows: Int, type: ElementType, rounded: RoundedRows?)
    throws(HardwareError) -> Double
  {
    let widest = products.reduce(0) { max($0, $1.weights[0].inputs) }
    let longest = products.reduce(0) { max($0, $1.weights[0].outputs) }
    let x = try device.allocate(byteCount: rows * widest * type.byteCount)
    let y = try device.allocate(byteCount: rows * longest * 4)
    return typical {
      for layer in 0..<options.shape.layers {
        for product in products where layer < product.weights.count {
          let weight = product.weights[layer]
          device.linear(
            x.tensor(type, rows: rows, columns: weight.inputs), weight, epilogue: product.epilogue, rounded: rounded,
            into: y.tensor(product.isFloat ? .float32 : type, rows: rows, columns: weight.outputs))
        }
      }
    }
  }

  private func weights(
    _ rows: [Int], _ columns: Int, _ type: ElementType, _ format: WeightFormat, _ layout: PackedLayout = .stacked,
    layers: Int? = nil
  ) throws(HardwareError) -> [PackedWeight] {
    var made: [PackedWeight] = []
    for layer in 0..<(layers ?? options.shape.layers) {
      made.append(
        try device.packRandom(
          rows: rows, columns: columns, seed: UInt64(layer), scale: 0.02, type: type, format: format, layout: layout))
    }
    return made
  }

  /// Seconds of one product, the mean over the layers of a pass.
  private func measure(_ product: Product, rows: Int, type: ElementType, rounded: RoundedRows?) throws(HardwareError)
    -> KernelReport.Line
  {
    let first = product.weights[0]
    let x = try device.allocate(byteCount: rows * first.inputs * type.byteCount)
    let y = try device.allocate(byteCount: rows * first.outputs * 4)
    let input = x.tensor(type, rows: rows, columns: first.inputs)
    let output = y.tensor(product.isFloat ? .float32 : type, rows: rows, columns: first.outputs)
    let seconds = typical {
      for weight in product.weights {
        device.linear(input, weight, epilogue: product.epilogue, rounded: rounded, into: output)
      }
    }
    let elements = Double(first.blockCount * 16 * first.inputs)
    return KernelReport.Line(
      name: product.name, type: type, format: first.format, rows: rows,
      seconds: seconds / Double(product.weights.count),
      bytes: Double(first.byteCount), operations: 2 * elements * Double(rows))
  }

  /// Attention of one layer: one sequence decoding, 8 where the context is short, one prefilling.
  func measureAttention(
    _ type: ElementType, _ kvType: KVType, context: Int, _ report: inout KernelReport,
    _ progress: (KernelReport.Line) -> Void
  ) throws(HardwareError) {
    let s = options.shape
    let blockTokens = 16
    let blocks = (context + blockTokens - 1) / blockTokens
    let sequences = context <= 4096 ? 8 : 1
    func layout(_ layers: Int) throws(HardwareError) -> KVLayout {
      try KVLayout(
        type: kvType, blockTokens: blockTokens, headCount: s.kvHeads, headDim: s.headDim, layerCount: layers)
    }
    // As many layers as no cache holds.
    let layers = min(s.layers, max(1, options.bandwidthBytes / (blocks * sequences * (try layout(1)).blockLayerBytes)))
    let cache = try KVCache(layout: layout(layers), blockCount: blocks * sequences, device: device)
    let table = (0..<blocks * sequences).map { BlockID($0) }
    // Untouched pages are all one page of zeros. Small numbers of every type.
    for layer in 0..<layers {
      for block in table {
        cache.address(layer: layer, block: block)
          .initializeMemory(as: UInt8.self, repeating: 0x21, count: cache.layout.blockLayerBytes)
      }
    }
    let prefix = kvType == KVType(type) ? "" : (kvType == .int8 ? "int8" : kvType.rawValue) + " "
    let steps = (sequences > 1 ? [(1, 1)] : []) + [(sequences, 1), (1, min(512, context))]
    for (count, rows) in steps {
      let batch = try AttentionBatch(
        device: device, layout: cache.layout, queryHeads: s.queryHeads, maxRows: count * rows, maxSequences: count,
        maxBlockEntries: table.count)
      let pieces = (0..<count).map {
        AttentionSequence(
          firstRow: Int32($0 * rows), rowCount: Int32(rows), contextTokens: Int32(context - rows),
          firstBlock: Int32($0 * blocks))
      }
      batch.prepare(sequences: pieces.span, blocks: table.span)
      let width = s.queryHeads * s.headDim
      let q = try device.allocate(byteCount: 2 * count * rows * width * type.byteCount)
      let queries = q.tensor(type, rows: count * rows, columns: width)
      let output = q.tensor(
        type, rows: count * rows, columns: width, byteOffset: count * rows * width * type.byteCount)
      let seconds = typical {
        for layer in 0..<layers {
          device.attention(q: queries, cache: cache, layer: layer, batch: batch, scale: 0.125, into: output)
        }
      }
      let visible = Double(context) - Double(rows - 1) / 2
      let line = KernelReport.Line(
        name: prefix + "attention \(count) x \(context)",
        type: type, rows: count * rows, seconds: seconds / Double(layers),
        bytes: Double(count * blocks * cache.layout.blockLayerBytes),
        operations: 4 * visible * Double(width) * Double(count * rows))
      report.lines.append(line)
      progress(line)
    }
  }
}
