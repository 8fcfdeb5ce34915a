package import SwerveCore

/// A row-major matrix in memory, normally in a mapped file: rows are outputs, columns inputs.
package struct WeightSource: @unchecked Sendable {
  // Sendable: an address and sizes; the bytes are constant for as long as packing needs them.

  /// Any alignment.
  package var pointer: UnsafeRawPointer
  package var type: ElementType
  package var rows: Int
  package var columns: Int

  package init(pointer: UnsafeRawPointer, type: ElementType, rows: Int, columns: Int) {
    self.pointer = pointer
    self.type = type
    self.rows = rows
    self.columns = columns
  }

  package var byteCount: Int { rows * columns * type.byteCount }

  /// Some of the rows.
  ///
  /// - Precondition: the range lies in `0 ..< rows`.
  package func rows(_ range: Range<Int>) -> WeightSource {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows outside the matrix")
    return WeightSource(
      pointer: pointer + range.lowerBound * columns * type.byteCount, type: type, rows: range.count, columns: columns)
  }

  /// Some of all numbers, one a row: a part of a bias.
  ///
  /// - Precondition: the range lies in `0 ..< rows × columns`.
  package func numbers(_ range: Range<Int>) -> WeightSource {
    WeightSource(pointer: pointer, type: type, rows: rows * columns, columns: 1).rows(range)
  }
}

/// Rows or columns of a matrix that has more of them.
package struct MatrixPart: Sendable, Hashable {
  package var range: Range<Int>
  /// How many there are in all.
  package var whole: Int

  package init(_ range: Range<Int>, of whole: Int) {
    self.range = range
    self.whole = whole
  }

  /// All of them.
  package init(_ whole: Int) { self.init(0..<whole, of: whole) }
}

/// How several sources become one matrix.
package enum PackedLayout: Sendable, Hashable {
  /// One under the other without gaps: query, key and value.
  case stacked
  /// Two of the same shape, alternating by blocks of 16 outputs: gate, up.
  case interleaved16
}

/// A weight matrix in the order kernels read it, with its bias. Constant once packed. The same bytes serve every kernel
/// set and, when quantised, every activation type.
///
/// Everything lies in blocks of 16 outputs, one block contiguous along K, filled to whole tiles with zeros. Per block:
/// - 16-bit types: `[K/32][16 pairs of inputs][16 outputs × 2]`, 1 KiB a tile; float32: `[K][16]`.
/// - `int8`: `[16 f32 scales]`, then `[K/4][64]` sign-magnitude bytes: two pairs of inputs by 16 outputs, in each 16
///   bytes eight of the first pair and eight of the second, up to `K/32` tiles of 512 bytes.
/// - `int4`, `nf4`: for every two groups `[2][16 binary16 scales]`, then each group's `[group/8][16 outputs × 2]` words
///   of 16 bits: input pair 4i + j of eight inputs in nibble j. A last single group has a whole line of scales too.
/// - `int8Dynamic`: `[16 f32 scales][16 i32 sums of levels]`, then `[K/64][16][16 outputs × 4]` bytes, 1 KiB a tile.
/// - `int4Dynamic`: scales as `int4`, then each group's `[group/8][16 outputs × 4]` bytes: the first four of eight inputs in
///   the low nibbles, the others in the high ones.
package final class PackedWeight: Sendable {
  /// Of the activations that it is multiplied with.
  package let type: ElementType
  /// How the numbers are stored.
  package let format: WeightFormat
  package let layout: PackedLayout
  /// Outputs of the product: all sources' rows, or one source's rows when interleaved.
  package let outputs: Int
  /// Inputs, K.
  package let inputs: Int
  /// Equal cuts of K whose sums are added pairwise in a fixed tree: 1, 2, 4 or 8.
  package let segments: Int
  /// f32, one a packed output; nil without bias.
  package var hasBias: Bool { bias != nil }

  let storage: WeightStorage
  let bias: WeightStorage?

  init(
    type: ElementType, format: WeightFormat, layout: PackedLayout, outputs: Int, inputs: Int, segments: Int,
    storage: WeightStorage, bias: WeightStorage?
  ) {
    self.type = type
    self.format = format
    self.layout = layout
    self.outputs = outputs
    self.inputs = inputs
    self.segments = segments
    self.storage = storage
    self.bias = bias
  }

  /// What a format asks of a matrix.
  static func check(
    _ format: WeightFormat, type: ElementType, inputs: Int, segments: Int
  ) throws(HardwareError) {
    guard [1, 2, 4, 8].contains(segments),
      segments == 1 || inputs % (segments * (format == .plain(.float32) ? 1 : 32)) == 0
    else {
      throw .shape("\(inputs) inputs cannot be cut into \(segments) segments of whole tiles; use 1")
    }
    switch format {
    case .plain(let stored):
      if stored != type {
        throw .shape("\(stored.rawValue) weights cannot be multiplied with \(type.rawValue) activations; use one type")
      }
    case .int8: break
    case .int8Dynamic:
      if inputs > WeightFormat.maximumDynamicInputs {
        throw .shape(
          "\(inputs) inputs are too many for sums of \(format.name); use at most "
            + "\(WeightFormat.maximumDynamicInputs), or int8")
      }
    case .int4(let group), .nf4(let group):
      guard WeightFormat.groupSizes.contains(group) else {
        throw .shape("a group of \(group) inputs is not supported; use 32, 64 or 128")
      }
      guard inputs / segments % group == 0 else {
        throw .shape("\(inputs) inputs in \(segments) segments are not whole groups of \(group); use int8")
      }
    case .int4Dynamic(let group):
      guard WeightFormat.groupSizes.contains(group), inputs % group == 0 else {
        throw .shape("\(inputs) inputs are not whole groups of \(group), one of 32, 64 or 128; use int8-dynamic")
      }
    }
  }

  /// Blocks of 16 outputs in the packed matrix.
  package var blockCount: Int { (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1) }

  /// Bytes of the packed matrix and its bias.
  package var byteCount: Int { storage.buffer.byteCount + (bias?.buffer.byteCount ?? 0) }

  /// Bytes a packed matrix will take, without bias.
  package static func byteCount(
    outputs: Int, inputs: Int, format: WeightFormat, layout: PackedLayout = .stacked
  ) -> Int {
    let blocks = (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1)
    return blocks * blockBytes(inputs: inputs, format: format)
  }

  /// Bytes of one block of 16 outputs.
  static func blockBytes(inputs: Int, format: WeightFormat) -> Int {
    switch format {
    case .plain(.float32): return inputs * 64
    case .plain: return (inputs + 31) / 32 * 1024
    case .int8: return 64 + (inputs + 31) / 32 * 512
    case .int8Dynamic: return 128 + (inputs + 63) / 64 * 1024
    case .int4(let group), .nf4(let group), .int4Dynamic(let group):
      let groups = inputs / group
      return (groups + 1) / 2 * 64 + groups * group * 8
    }
  }
}

/// A buffer that a class can hold.
final class WeightStorage: Sendable {
  let buffer: DeviceBuffer

  init(_ buffer: consuming DeviceBuffer) { self.buffer = buffer }
}
