internal import CSwerveKernels
package import SwerveCore
internal import Synchronization

extension CPUDevice {
  /// Packs row-major matrices into one, converting to `format` (nearest even), on all threads.
  ///
  /// - Parameters:
  ///   - sources: one or more with the same columns; exactly two of the same shape for `.interleaved16`.
  ///   - type: of the activations.
  ///   - format: nil: plain numbers of `type`.
  ///   - biases: f32 pointers or other types, `rows` long, one a source; nil entries are zeros. Empty: no bias.
  ///   - inputs: columns of the sources that are packed; nil: all. Scales of whole rows are those of all columns.
  ///   - segments: 1, 2, 4 or 8; more than 1 needs columns divisible by 32 × segments (plain float32: by segments), for
  ///     4-bit formats by group × segments.
  ///   - packed: called with each part of a source, some megabytes of whole rows, after its last byte was read: to drop
  ///     its pages.
  /// - Throws: `.shape` with what does not fit, `.outOfMemory`.
  package func pack(
    _ sources: [WeightSource], biases: [WeightSource?] = [], type: ElementType, format: WeightFormat? = nil,
    layout: PackedLayout = .stacked, inputs: Range<Int>? = nil, segments: Int = 1,
    packed: (WeightSource) -> Void = { _ in }
  ) throws(HardwareError) -> PackedWeight {
    guard let width = sources.first?.columns else { throw .shape("no matrix to pack; give at least one") }
    for source in sources where source.columns != width || source.rows < 1 || width < 1 {
      throw .shape("a matrix of \(source.rows) x \(source.columns) cannot be packed with one of \(width) columns")
    }
    let taken = MatrixPart(inputs ?? 0..<width, of: width)
    let columns = taken.range.count
    try Self.check(taken, format: format ?? .plain(type))
    let rows = sources.map(\.rows)
    let result = try makePacked(
      rows: rows, columns: columns, type: type, format: format ?? .plain(type), layout: layout, segments: segments,
      biases: biases)
    var row = 0
    for (index, source) in sources.enumerated() {
      for part in source.parts {
        packOne(into: result, index: index, firstRow: row, rows: 0..<part.rows, inputs: taken, source: part)
        row += part.rows
        packed(part)
      }
      if layout == .interleaved16 { row = 0 }
    }
    return result
  }

  /// A packed matrix of seeded noise: uniform, mean 0, standard deviation `scale`. A number depends on the seed, its
  /// source, row and column alone; a quantised format rounds the same noise.
  package func packRandom(
    rows: [Int], columns: Int, seed: UInt64, scale: Float, type: ElementType, format: WeightFormat? = nil,
    layout: PackedLayout = .stacked, segments: Int = 1, withBias: Bool = false
  ) throws(HardwareError) -> PackedWeight {
    try packRandom(
      rows: rows.map { MatrixPart(0..<max(0, $0), of: $0) }, inputs: MatrixPart(0..<max(0, columns), of: columns),
      seed: seed, scale: scale, type: type, format: format, layout: layout, segments: segments, withBias: withBias)
  }

  /// The same numbers, of a part of the rows of each source and a part of the columns.
  package func packRandom(
    rows parts: [MatrixPart], inputs: MatrixPart, seed: UInt64, scale: Float, type: ElementType,
    format: WeightFormat? = nil, layout: PackedLayout = .stacked, segments: Int = 1, withBias: Bool = false
  ) throws(HardwareError) -> PackedWeight {
    let rows = parts.map(\.range.count)
    let columns = inputs.range.count
    guard columns > 0, !rows.isEmpty, rows.allSatisfy({ $0 > 0 }) else {
      throw .shape("a random matrix needs at least one row and one column, not \(rows) x \(columns)")
    }
    try Self.check(inputs, format: format ?? .plain(type))
    let result = try makePacked(
      rows: rows, columns: columns, type: type, format: format ?? .plain(type), layout: layout, segments: segments,
      biases: [], forceBias: withBias)
    if let bias = result.bias {
      let out = bias.buffer.pointer.assumingMemoryBound(to: Float.self)
      fillRandomBias(out, parts, layout: layout, seed: seed &+ 0x5eed, scale: scale)
    }
    var row = 0
    for (index, part) in parts.enumerated() {
      packOne(
        into: result, index: index, firstRow: row, rows: part.range, inputs: inputs, source: nil,
        seed: seed &+ UInt64(index) &* 0x9e37_79b9, scale: scale)
      if layout == .stacked { row += part.range.count }
    }
    return result
  }

  /// Numbers by their place in the whole packed bias.
  private func fillRandomBias(
    _ out: UnsafeMutablePointer<Float>, _ parts: [MatrixPart], layout: PackedLayout, seed: UInt64, scale: Float
  ) {
    func place(_ row: Int, _ source: Int, _ first: Int) -> Int {
      layout == .interleaved16 ? (row / 16 * 2 + source) * 16 + row % 16 : first + row
    }
    let last = parts.count - 1
    let wholeRows = parts.reduce(0) { $0 + $1.whole }
    let count = layout == .interleaved16 ? (parts[last].whole + 15) / 16 * 32 : (wholeRows + 15) / 16 * 16
    var whole = [Float](repeating: 0, count: count)
    swerve_random_f32(&whole, count, seed, scale)
    var wholeFirst = 0
    var first = 0
    for (source, part) in parts.enumerated() {
      for row in 0..<part.range.count {
        out[place(row, source, first)] = whole[place(part.range.lowerBound + row, source, wholeFirst)]
      }
      first += part.range.count
      wholeFirst += part.whole
    }
  }

  private static func check(_ inputs: MatrixPart, format: WeightFormat) throws(HardwareError) {
    guard inputs.range.lowerBound >= 0, inputs.range.upperBound <= inputs.whole, !inputs.range.isEmpty else {
      throw .shape("columns \(inputs.range) are not a part of \(inputs.whole)")
    }
    guard inputs.range.count == inputs.whole || !format.roundsRows else {
      throw .shape("\(format.name) rounds whole rows, so a product cannot be split over its inputs; use int8")
    }
  }

  private func makePacked(
    rows: [Int], columns: Int, type: ElementType, format: WeightFormat, layout: PackedLayout, segments: Int,
    biases: [WeightSource?], forceBias: Bool = false
  ) throws(HardwareError) -> PackedWeight {
    if layout == .interleaved16, rows.count != 2 || rows[0] != rows[1] {
      throw .shape("interleaving needs two matrices of the same shape, not rows \(rows)")
    }
    try PackedWeight.check(format, type: type, inputs: columns, segments: segments)
    let outputs = layout == .interleaved16 ? rows[0] : rows.reduce(0, +)
    let bytes = PackedWeight.byteCount(outputs: outputs, inputs: columns, format: format, layout: layout)
    let storage = WeightStorage(try allocate(byteCount: bytes))
    // Units of the product that will read the matrix: see `linear`.
    let units = (outputs + 15) / 16
    if !pool.place(storage.buffer.pointer, units: units, unitBytes: bytes / units) {
      refusedPlacements.add(1, ordering: .relaxed)
    }
    var bias: WeightStorage?
    if forceBias || biases.contains(where: { $0 != nil }) {
      bias = try packBias(biases, rows: rows, outputs: outputs, layout: layout)
    }
    return PackedWeight(
      type: type, format: format, layout: layout, outputs: outputs, inputs: columns, segments: segments,
      storage: storage, bias: bias)
  }

  private func packBias(
    _ biases: [WeightSource?], rows: [Int], outputs: Int, layout: PackedLayout
  ) throws(HardwareError) -> WeightStorage {
    guard biases.isEmpty || biases.count == rows.count else {
      throw .shape("\(biases.count) biases for \(rows.count) matrices; give one entry for each")
    }
    let blocks = (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1)
    let storage = WeightStorage(try allocate(byteCount: blocks * 64))
    let out = storage.buffer.pointer.assumingMemoryBound(to: Float.self)
    var first = 0
    for (index, bias) in biases.enumerated() {
      defer { first += rows[index] }
      guard let bias else { continue }
      guard bias.rows * bias.columns == rows[index] else {
        throw .shape("a bias of \(bias.rows * bias.columns) numbers for \(rows[index]) outputs")
      }
      for row in 0..<rows[index] {
        let place = layout == .interleaved16 ? (row / 16 * 2 + index) * 16 + row % 16 : first + row
        out[place] = bias.number(at: row)
      }
    }
    return storage
  }

  private func packOne(
    into result: PackedWeight, index: Int, firstRow: Int, rows: Range<Int>, inputs: MatrixPart, source: WeightSource?,
    seed: UInt64 = 0, scale: Float = 0
  ) {
    let isInterleaved = result.layout == .interleaved16
    let job = swerve_pack_job(
      source: source?.pointer, source_type: (source?.type ?? .float32).kernelType, source_stride: inputs.whole,
      packed: result.storage.buffer.pointer, type: result.type.kernelType, rows: rows.count, columns: result.inputs,
      first_column: inputs.range.lowerBound, row_columns: inputs.whole, source_row: rows.lowerBound,
      first_block: isInterleaved ? firstRow / 16 * 2 + index : 0, block_step: isInterleaved ? 2 : 1,
      first_row: isInterleaved ? 0 : firstRow, seed: seed,
      scale: scale, format: result.format.kernelFormat, group: result.format.group ?? 0)
    pool.run(swerve_pack_task, job, units: (isInterleaved ? rows.count + 15 : firstRow % 16 + rows.count + 15) / 16)
  }
}

extension WeightSource {
  /// The same rows in parts of about 16 MiB, whole blocks of 16 rows but for the last.
  fileprivate var parts: [WeightSource] {
    let rowBytes = columns * type.byteCount
    let step = max(1, (16 << 20) / rowBytes / 16) * 16
    return stride(from: 0, to: rows, by: step).map { first in
      WeightSource(
        pointer: pointer + first * rowBytes, type: type, rows: min(step, rows - first), columns: columns)
    }
  }

  /// One number in f32. For biases and norms, not for matrices.
  package func number(at index: Int) -> Float {
    precondition(index >= 0 && index < rows * columns, "number outside the source")
    switch type {
    case .float32: return pointer.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
    case .bfloat16:
      let bits = pointer.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
      return Float(bitPattern: UInt32(bits) << 16)
    case .float16:
      let bits = pointer.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
      return Float(halfBits: bits)
    }
  }
}

extension Float {
  /// The value of IEEE 754 binary16 bits; exact.
  package init(halfBits bits: UInt16) {
    let magnitude = Float(bitPattern: UInt32(bits & 0x7fff) << 13) * 0x1p112
    let special: UInt32 = bits & 0x7c00 == 0x7c00 ? 0x7f80_0000 : 0
    self.init(bitPattern: magnitude.bitPattern | special | UInt32(bits & 0x8000) << 16)
  }
}
