internal import CSwerveKernels
package import SwerveCore

// The closed list of what the device computes: here what passes over rows; Operations+Linear.swift the matrix products,
// Operations+Attention.swift keys, values and attention, Operations+Logits.swift what the sampler asks.
//
// A is the run's activation type. Every operation is one call into C per piece of work, parallel over the pool, without
// heap allocation; a row's result depends on nothing but the row: not on other rows, their number or the threads.
// Sizes that do not fit are our own mistakes and stop the program; nothing of this comes from outside unchecked.

extension CPUDevice {
  /// `out` f32 [rows, H] = rows of a row-major table, any type [vocabulary, H].
  ///
  /// - Precondition: tokens are in `0 ..< table.rows`.
  package func embed(_ tokens: Span<TokenID>, table: Tensor, into out: Tensor) {
    require(table.columns == out.columns, "embed: columns")
    embed(tokens, rows: table.rows, into: out) { index in
      swerve_embed_job(
        kernels: kernels, index: index, table: table.pointer, type: table.type.kernelType, packed: false,
        table_stride: table.rowStride, format: WeightFormat.plain(table.type).kernelFormat, group: 0,
        columns: out.columns, out: out.float32, out_stride: out.rowStride)
    }
  }

  /// `out` f32 [rows, H] = rows of a packed matrix [vocabulary, H]: tied embeddings. Quantised: levels times scales.
  ///
  /// - Precondition: tokens are in `0 ..< table.outputs`.
  package func embed(_ tokens: Span<TokenID>, table: PackedWeight, into out: Tensor) {
    require(table.inputs == out.columns && table.layout == .stacked, "embed: columns")
    embed(tokens, rows: table.outputs, into: out) { index in
      swerve_embed_job(
        kernels: kernels, index: index, table: table.storage.buffer.pointer, type: table.type.kernelType, packed: true,
        table_stride: table.inputs, format: table.format.kernelFormat, group: table.format.group ?? 0,
        columns: out.columns, out: out.float32, out_stride: out.rowStride)
    }
  }

  private func embed(
    _ tokens: Span<TokenID>, rows: Int, into out: Tensor, job: (UnsafePointer<Int32>) -> swerve_embed_job
  ) {
    require(out.rows == tokens.count, "embed: one row a token")
    for index in tokens.indices {
      require(tokens[index].rawValue >= 0 && Int(tokens[index].rawValue) < rows, "embed: token outside the table")
    }
    tokens.withUnsafeBufferPointer { buffer in
      guard let first = buffer.baseAddress else { return }
      first.withMemoryRebound(to: Int32.self, capacity: buffer.count) {
        pool.run(swerve_embed_task, job($0), units: out.rows, grain: 4)
      }
    }
  }

  /// `y` A [rows, H] = x / sqrt(mean(x²) + epsilon) × weight, for x f32 [rows, H] and weight f32 [H], H ≤ 65,536.
  package func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) {
    norm(x, delta: nil, weight: weight, epsilon: epsilon, into: y)
  }

  /// `residual` f32 [rows, H] += `delta` f32 [rows, H], then `y` = its RMS norm as in `rmsNorm`.
  package func addRMSNorm(residual: Tensor, delta: Tensor, weight: Tensor, epsilon: Float, into y: Tensor) {
    require(delta.rows == residual.rows && delta.columns == residual.columns, "addRMSNorm: delta")
    norm(residual, delta: delta, weight: weight, epsilon: epsilon, into: y)
  }

  private func norm(_ x: Tensor, delta: Tensor?, weight: Tensor, epsilon: Float, into y: Tensor) {
    require(x.rows == y.rows && x.columns == y.columns, "rmsNorm: x and y differ")
    require(weight.columns == x.columns && x.columns <= 65_536, "rmsNorm: weight")
    let job = swerve_norm_job(
      kernels: kernels, residual: x.float32, residual_stride: x.rowStride, delta: delta?.float32,
      delta_stride: delta?.rowStride ?? 0, weight: weight.float32, epsilon: epsilon, y: y.pointer,
      y_stride: y.rowStride, type: y.type.kernelType, columns: x.columns)
    pool.run(swerve_norm_task, job, units: x.rows, grain: Self.rowGrain(x.columns))
  }

  /// Splits and rotates: `qkv` f32 [rows, (Hq + 2 Hkv) d] with cosines and sines f32 [rows, rotaryDim / 2] gives q, k, v
  /// A [rows, heads × d]. Element i of a head turns with element i + rotaryDim / 2; what lies beyond rotaryDim passes.
  ///
  /// - Parameters:
  ///   - qNorm, kNorm: f32 [d], an RMS norm of each head before the rotation; nil: none.
  ///   - slots: where k and v are written besides, as `writeKV` would; nil: nowhere.
  package func rotate(
    _ qkv: Tensor, cosines: Tensor, sines: Tensor, qNorm: Tensor? = nil, kNorm: Tensor? = nil, epsilon: Float = 0,
    headDim: Int, q: Tensor, k: Tensor, v: Tensor, slots: KVSlots? = nil
  ) {
    let rows = qkv.rows
    require(qkv.columns == q.columns + k.columns + v.columns && k.columns == v.columns, "rotate: columns")
    require(q.rows == rows && k.rows == rows && v.rows == rows, "rotate: rows")
    require(q.type == k.type && k.type == v.type, "rotate: types")
    require(q.columns % headDim == 0 && k.columns % headDim == 0, "rotate: whole heads")
    require(cosines.rows >= rows && sines.rows >= rows && cosines.columns == sines.columns, "rotate: angles")
    require(cosines.rowStride == sines.rowStride && cosines.columns * 2 <= headDim, "rotate: angles")
    require(qNorm.map { $0.columns == headDim } ?? true && kNorm.map { $0.columns == headDim } ?? true, "rotate: norms")
    var job = swerve_rotate_job(
      kernels: kernels, qkv: qkv.float32, qkv_stride: qkv.rowStride, cosines: cosines.float32, sines: sines.float32,
      angle_stride: cosines.rowStride, q_norm: qNorm?.float32, k_norm: kNorm?.float32, epsilon: epsilon, q: q.pointer,
      k: k.pointer, v: v.pointer, q_stride: q.rowStride, k_stride: k.rowStride, v_stride: v.rowStride,
      type: q.type.kernelType, query_heads: q.columns / headDim, kv_heads: k.columns / headDim, head_dim: headDim,
      rotary_dim: cosines.columns * 2, write: nil)
    let grain = Self.rowGrain(qkv.columns)
    guard let slots else { return pool.run(swerve_rotate_task, job, units: rows, grain: grain) }
    withUnsafePointer(to: writeJob(k: k, v: v, into: slots)) { write in
      job.write = write
      pool.run(swerve_rotate_task, job, units: rows, grain: grain)
    }
  }

  /// `out` [indices.count, C] = rows of `x` [.., C] of the same type: the rows that are sampled.
  package func gatherRows(_ x: Tensor, indices: Span<Int32>, into out: Tensor) {
    require(x.type == out.type && x.columns == out.columns && out.rows == indices.count, "gatherRows: shapes")
    for index in indices.indices {
      require(indices[index] >= 0 && Int(indices[index]) < x.rows, "gatherRows: row outside x")
    }
    indices.withUnsafeBufferPointer { buffer in
      guard let first = buffer.baseAddress else { return }
      let job = swerve_gather_job(
        source: x.pointer, source_stride: x.rowBytes, index: first, out: out.pointer, out_stride: out.rowBytes,
        row_bytes: x.columns * x.type.byteCount)
      pool.run(swerve_gather_task, job, units: out.rows, grain: 16)
    }
  }

  /// `out` = `x` in another type, nearest even; same shape.
  package func convert(_ x: Tensor, into out: Tensor) {
    require(x.rows == out.rows && x.columns == out.columns, "convert: shapes")
    let job = swerve_convert_job(
      kernels: kernels, source: x.pointer, source_type: x.type.kernelType, source_stride: x.rowStride, out: out.pointer,
      type: out.type.kernelType, out_stride: out.rowStride, columns: x.columns)
    pool.run(swerve_convert_task, job, units: x.rows, grain: Self.rowGrain(x.columns))
  }

  /// Rows worth a hand-over to another thread: about 16,000 numbers.
  static func rowGrain(_ columns: Int) -> Int { max(1, 16_384 / max(1, columns)) }

  @inline(__always)
  func require(_ condition: @autoclosure () -> Bool, _ what: @autoclosure () -> StaticString) {
    if !condition() { shapeMismatch(what()) }
  }
}

@inline(never)
private func shapeMismatch(_ what: StaticString) -> Never {
  preconditionFailure("operands do not fit: \(what)")
}
