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
}

/// How several sources become one matrix.
package enum PackedLayout: Sendable, Hashable {
  /// One under the other without gaps: query, key and value.
  case stacked
  /// Two of the same shape, alternating by blocks of 16 outputs: gate, up.
  case interleaved16
}

/// A weight matrix in the order kernels read it, with its bias. Constant once packed.
///
/// 16-bit types: `[N/16][K/32][16 pairs of inputs][16 outputs × 2]`, zeros to whole tiles of 1 KiB. float32:
/// `[N/16][K][16]`. The same bytes serve every kernel set.
package final class PackedWeight: Sendable {
  package let type: ElementType
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
    type: ElementType, layout: PackedLayout, outputs: Int, inputs: Int, segments: Int, storage: WeightStorage,
    bias: WeightStorage?
  ) {
    self.type = type
    self.layout = layout
    self.outputs = outputs
    self.inputs = inputs
    self.segments = segments
    self.storage = storage
    self.bias = bias
  }

  /// Blocks of 16 outputs in the packed matrix.
  package var blockCount: Int { (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1) }

  /// Bytes of the packed matrix and its bias.
  package var byteCount: Int { storage.buffer.byteCount + (bias?.buffer.byteCount ?? 0) }

  /// Bytes a packed matrix will take, without bias.
  package static func byteCount(outputs: Int, inputs: Int, type: ElementType, layout: PackedLayout = .stacked) -> Int {
    let blocks = (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1)
    return blocks * blockBytes(inputs: inputs, type: type)
  }

  /// Bytes of one block of 16 outputs.
  static func blockBytes(inputs: Int, type: ElementType) -> Int {
    type == .float32 ? inputs * 64 : (inputs + 31) / 32 * 1024
  }
}

/// A buffer that a class can hold.
final class WeightStorage: Sendable {
  let buffer: DeviceBuffer

  init(_ buffer: consuming DeviceBuffer) { self.buffer = buffer }
}
