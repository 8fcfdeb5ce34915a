internal import CSwerveKernels
internal import SwerveCore

/// What ranks do with the sums of their shares of a product's inputs (`LinearEpilogue.sums`).
extension CPUDevice {
  /// `sums` f32 [rows, N] += `other`, of any type and the same shape.
  package func add(_ other: Tensor, to sums: Tensor) {
    require(other.rows == sums.rows && other.columns == sums.columns, "add: shapes")
    let job = swerve_add_job(
      kernels: kernels, sums: sums.float32, sums_stride: sums.rowStride, other: other.pointer,
      other_stride: other.rowStride, other_type: other.type.kernelType, columns: sums.columns)
    pool.run(swerve_add_task, job, units: sums.rows, grain: Self.rowGrain(sums.columns))
  }

  /// `y` f32 [rows, N] += `sums` f32 [rows, N] with the weight's scales and bias: what `.accumulate` does after its own
  /// sum, bit for bit. `sums` is overwritten.
  package func accumulate(_ sums: Tensor, of w: PackedWeight, into y: Tensor) {
    require(sums.rows == y.rows && sums.columns == y.columns && y.columns == w.outputs, "accumulate: shapes")
    let job = swerve_accumulate_job(
      kernels: kernels, sums: sums.float32, sums_stride: sums.rowStride,
      blocks: w.format == .int8 ? UnsafeRawPointer(w.storage.buffer.pointer) : nil,
      block_bytes: PackedWeight.blockBytes(inputs: w.inputs, format: w.format),
      bias: w.bias.map { UnsafePointer($0.buffer.pointer.assumingMemoryBound(to: Float.self)) }, y: y.float32,
      y_stride: y.rowStride, columns: y.columns)
    pool.run(swerve_accumulate_task, job, units: y.rows, grain: Self.rowGrain(y.columns))
  }

  /// Joins two sets of f32 rows of which each number is all zero bits in one: `rows` |= `other`, without gaps between rows.
  package func merge(_ other: UnsafeRawPointer, into rows: Tensor) {
    require(rows.rowStride == rows.columns, "merge: rows without gaps")
    let count = rows.rows * rows.columns
    let job = swerve_merge_job(
      words: UnsafeMutableRawPointer(rows.float32).assumingMemoryBound(to: UInt32.self),
      other: other.assumingMemoryBound(to: UInt32.self))
    pool.run(swerve_merge_task, job, units: count, grain: 16_384)
  }
}
