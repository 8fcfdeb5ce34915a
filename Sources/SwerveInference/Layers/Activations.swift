import SwerveCore
import SwerveHardware

/// Everything a step writes between its tokens and its logits, allocated once. R = most rows of a step, A = the run's
/// activation type. Pages are taken from the system when a step first reaches them.
struct Activations {
  private let buffers: [BufferBox]

  /// f32 [R, hidden]: the residual stream
  let residual: Tensor
  /// A [R, hidden]: the norm's output, input of the next product
  let normed: Tensor
  /// f32 [R, query + 2 key/value widths]: the projections before rotation
  let queryKeyValue: Tensor
  /// A [R, query width]
  let query: Tensor
  /// A [R, key/value width]
  let key: Tensor
  /// A [R, key/value width]
  let value: Tensor
  /// A [R, intermediate]: silu(gate) × up
  let gated: Tensor
  /// f32 [R, rotating elements / 2]
  let cosines: Tensor
  let sines: Tensor
  /// [R, widest input]: a product's rows in int8, where the weights' format asks for it
  let rounded: RoundedRows?

  init(
    _ c: ModelConfiguration, type: ElementType, rows: Int, roundsRows: Bool = false, device: CPUDevice
  ) throws(HardwareError) {
    var buffers: [BufferBox] = []
    func make(_ type: ElementType, _ columns: Int) throws(HardwareError) -> Tensor {
      let box = BufferBox(try device.allocate(byteCount: rows * columns * type.byteCount))
      buffers.append(box)
      return box.buffer.tensor(type, rows: rows, columns: columns)
    }
    residual = try make(.float32, c.hiddenSize)
    normed = try make(type, c.hiddenSize)
    queryKeyValue = try make(.float32, c.queryKeyValueWidth)
    query = try make(type, c.queryWidth)
    key = try make(type, c.keyValueWidth)
    value = try make(type, c.keyValueWidth)
    gated = try make(type, c.intermediateSize)
    cosines = try make(.float32, c.rotary.dimensions / 2)
    sines = try make(.float32, c.rotary.dimensions / 2)
    rounded = roundsRows ? try RoundedRows(device: device, rows: rows, inputs: Self.widestInput(c)) : nil
    self.buffers = buffers
  }

  private static func widestInput(_ c: ModelConfiguration) -> Int {
    max(c.hiddenSize, c.queryWidth, min(c.intermediateSize, WeightFormat.maximumDynamicInputs))
  }

  /// Bytes `init` allocates.
  static func byteCount(_ c: ModelConfiguration, type: ElementType, rows: Int, roundsRows: Bool = false) -> Int {
    let floats = c.hiddenSize + c.queryKeyValueWidth + c.rotary.dimensions
    let typed = c.hiddenSize + c.queryKeyValueWidth + c.intermediateSize
    let rounded = roundsRows ? RoundedRows.byteCount(rows: rows, inputs: widestInput(c)) : 0
    return rows * (floats * 4 + typed * type.byteCount) + rounded
  }
}

/// A buffer that can stand in an array.
final class BufferBox {
  let buffer: DeviceBuffer

  init(_ buffer: consuming DeviceBuffer) { self.buffer = buffer }
}
