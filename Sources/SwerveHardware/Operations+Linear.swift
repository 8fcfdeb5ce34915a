internal import CSwerveKernels
internal import SwerveCore

/// What follows a matrix product, while its sums are in registers or the first-level cache. N outputs; the bias of the
/// weight is always added first.
package enum LinearEpilogue: Sendable, Hashable {
  /// y f32 [rows, N], or A [rows, N] by the type of y.
  case store
  /// y f32 [rows, N] += the product: the residual stream.
  case accumulate
  /// y f32 [rows, N] = the product alone, without bias and before the scales of int8 weights: a rank's share of a sum over
  /// more inputs than it has. `accumulate` ends what `store` and `add` begin.
  case sums
  /// y A [rows, N] = silu(gate) × up, for a weight packed `.interleaved16`; silu(x) = x / (1 + e^-x).
  case siluMultiply
}

extension CPUDevice {
  /// y = x Wᵀ (+ bias), x A [rows, K], summed in f32 over K in one fixed order.
  ///
  /// Cost: one read of W for all rows; 2 × rows × K × N operations. A weight that rounds rows does so first, one read of
  /// x.
  ///
  /// - Parameter rounded: room for the rounded rows; needed where the weight's format `roundsRows`, else unused.
  package func linear(
    _ x: Tensor, _ w: PackedWeight, epilogue: LinearEpilogue = .store, rounded: RoundedRows? = nil, into y: Tensor
  ) {
    guard let job = linearJob(x, w, epilogue: epilogue, rounded: rounded, into: y) else { return }
    let units = (w.outputs + 15) / 16
    pool.run(swerve_linear_task, job, units: units, grain: grain(job, w, units: units))
  }

  /// Units of a hand-over. A few rows: at least 48 KiB of weights or as much work as that takes, some microseconds, in whole
  /// panels of 4 blocks, of 8 where one or two rows meet quantised ones. Many: about a panel, of a width that all threads come
  /// out even.
  private func grain(_ job: swerve_linear_job, _ w: PackedWeight, units: Int) -> Int {
    let panel = max(1, withUnsafePointer(to: job) { swerve_linear_panel($0) })
    if job.rows >= SWERVE_MANY_ROWS {
      let each = (units + threadCount - 1) / threadCount, pieces = (each + panel - 1) / panel
      let width = (each + pieces - 1) / pieces
      if w.layout == .interleaved16 || width % 2 == 0 { return width }
      // Blocks go through the matrix unit in pairs: an odd one takes as long as two.
      for fewer in stride(from: pieces - 1, through: 1, by: -1) where each % (2 * fewer) == 0 { return each / fewer }
      return width + 1
    }
    let unitBytes = PackedWeight.blockBytes(inputs: w.inputs, format: w.format) * (w.layout == .interleaved16 ? 2 : 1)
    let width = max(4, panel)
    return max(1, (48 << 10) / (unitBytes * (1 + Int(job.rows) / 4)) / width) * width
  }

  /// What the kernel is told, after the operands were checked and rows rounded where the format wants that; nil without
  /// rows.
  func linearJob(
    _ x: Tensor, _ w: PackedWeight, epilogue: LinearEpilogue, rounded: RoundedRows?, into y: Tensor
  ) -> swerve_linear_job? {
    require(x.type == w.type && x.columns == w.inputs, "linear: x and weight")
    require(y.rows == x.rows && y.columns == w.outputs, "linear: y")
    require((epilogue == .siluMultiply) == (w.layout == .interleaved16), "linear: epilogue and layout")
    let code: Int32
    switch epilogue {
    case .store:
      require(y.type == .float32 || y.type == w.type, "linear: type of y")
      code = y.type == .float32 ? 0 : 1
    case .accumulate:
      require(y.type == .float32, "linear: accumulates into float32")
      code = 2
    case .siluMultiply:
      require(y.type == w.type, "linear: type of y")
      code = 3
    case .sums:
      require(y.type == .float32 && !w.format.roundsRows, "linear: sums in float32")
      code = 4
    }
    guard x.rows > 0 else { return nil }
    if w.format.roundsRows { round(x, for: w.format, into: rounded) }
    return swerve_linear_job(
      kernels: kernels, x: x.pointer, x_stride: x.rowStride, w: w.storage.buffer.pointer,
      bias: w.bias.map { UnsafePointer($0.buffer.pointer.assumingMemoryBound(to: Float.self)) }, y: y.pointer,
      y_stride: y.rowStride, rows: x.rows, inputs: w.inputs, outputs: w.outputs, type: w.type.kernelType,
      epilogue: code,
      segments: Int32(w.segments), format: w.format.kernelFormat, group: w.format.group ?? 0,
      levels: rounded?.levels, row_scales: rounded?.scales)
  }

  private func round(_ x: Tensor, for format: WeightFormat, into rounded: RoundedRows?) {
    require(rounded?.holds(rows: x.rows, inputs: x.columns) ?? false, "linear: room for rounded rows")
    guard let rounded else { return }
    let job = swerve_quantize_rows_job(
      kernels: kernels, x: x.pointer, x_stride: x.rowStride, type: x.type.kernelType, inputs: x.columns,
      format: format.kernelFormat, levels: rounded.levels, row_scales: rounded.scales)
    pool.run(swerve_quantize_rows_task, job, units: x.rows, grain: Self.rowGrain(x.columns))
  }
}
