internal import CSwerveKernels
internal import SwerveCore

extension CPUDevice {
  /// Lowest index of each row's largest logit. `logits` f32 [rows, V]; NaN counts as -infinity.
  package func argmax(_ logits: Tensor, into indices: inout MutableSpan<Int32>) {
    require(indices.count >= logits.rows, "argmax: one index a row")
    indices.withUnsafeMutableBufferPointer { runLogits(logits, argmax: $0.baseAddress) }
  }

  /// Each row's largest logit and its place, and ln Σ e^logit. `logits` f32 [rows, V]; all three spans [rows].
  package func maximaAndLogSumExp(
    _ logits: Tensor, indices: inout MutableSpan<Int32>, maxima: inout MutableSpan<Float>,
    logSumExps: inout MutableSpan<Float>
  ) {
    require(
      indices.count >= logits.rows && maxima.count >= logits.rows && logSumExps.count >= logits.rows,
      "maximaAndLogSumExp: one a row")
    indices.withUnsafeMutableBufferPointer { i in
      maxima.withUnsafeMutableBufferPointer { m in
        logSumExps.withUnsafeMutableBufferPointer { l in
          runLogits(logits, argmax: i.baseAddress, maximum: m.baseAddress, logSumExp: l.baseAddress)
        }
      }
    }
  }

  /// Multiplies each row f32 [rows, V] by its factor, in place: temperatures.
  package func scaleRows(_ logits: Tensor, by factors: Span<Float>) {
    require(factors.count >= logits.rows, "scaleRows: one factor a row")
    factors.withUnsafeBufferPointer { runLogits(logits, scale: $0.baseAddress) }
  }

  private func runLogits(
    _ logits: Tensor, argmax: UnsafeMutablePointer<Int32>? = nil, maximum: UnsafeMutablePointer<Float>? = nil,
    logSumExp: UnsafeMutablePointer<Float>? = nil, scale: UnsafePointer<Float>? = nil
  ) {
    require(logits.columns > 0, "logits: no columns")
    let job = swerve_logits_job(
      kernels: kernels, logits: logits.float32, stride: logits.rowStride, columns: logits.columns, argmax: argmax,
      maximum: maximum, log_sum_exp: logSumExp, scale: scale)
    pool.run(swerve_logits_task, job, units: logits.rows)
  }
}
