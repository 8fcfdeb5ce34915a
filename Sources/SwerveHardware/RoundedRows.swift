/// Room for activations rounded to int8, one scale a row: what products of formats that `roundsRows` read. Allocated once for the widest
/// rows; every product overwrites it, so products that share it must not run at once.
package final class RoundedRows: @unchecked Sendable {
  // Sendable: the buffer never moves, and who may touch it is decided by the rules of `CPUDevice`.

  private let buffer: DeviceBuffer
  private let maxRows: Int
  /// Most inputs, in whole tiles of 64.
  private let maxInputs: Int

  /// Room for `rows` rows of at most `inputs` numbers.
  package init(device: CPUDevice, rows: Int, inputs: Int) throws(HardwareError) {
    maxRows = rows
    maxInputs = (inputs + 63) / 64 * 64
    buffer = try device.allocate(byteCount: Self.byteCount(rows: rows, inputs: inputs))
  }

  /// Bytes `init` allocates.
  package static func byteCount(rows: Int, inputs: Int) -> Int { rows * ((inputs + 63) / 64 * 64 + 4) }

  func holds(rows: Int, inputs: Int) -> Bool { rows <= maxRows && inputs <= maxInputs }

  /// int8 [rows, inputs rounded up to 64], in the form the kernel set's products take.
  var levels: UnsafeMutableRawPointer { buffer.pointer }
  /// f32 [rows]
  var scales: UnsafeMutablePointer<Float> {
    (buffer.pointer + maxRows * maxInputs).assumingMemoryBound(to: Float.self)
  }
}
