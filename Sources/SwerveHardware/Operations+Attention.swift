internal import CSwerveKernels
internal import SwerveCore

/// The slots of a prepared step in one layer of a cache: where its rows' keys and values go.
package struct KVSlots {
  package var cache: KVCache
  package var layer: Int
  package var batch: AttentionBatch

  package init(cache: KVCache, layer: Int, batch: AttentionBatch) {
    self.cache = cache
    self.layer = layer
    self.batch = batch
  }
}

extension CPUDevice {
  /// Writes k, v A [rows, Hkv × d] of a prepared step into their slots of a layer, rounded to the cache's type. Codes of
  /// eight bits depend on their token's own numbers alone; an infinity or NaN among a head's numbers makes all of them NaN.
  package func writeKV(k: Tensor, v: Tensor, into slots: KVSlots) {
    run(writeJob(k: k, v: v, into: slots), rows: k.rows, columns: k.columns)
  }

  func writeJob(k: Tensor, v: Tensor, into slots: KVSlots) -> swerve_kv_write_job {
    let (cache, batch) = (slots.cache, slots.batch)
    require(batch.layout == cache.layout, "writeKV: batch and cache")
    require(k.rows == batch.rowCount, "writeKV: rows")
    require(batch.highestSlot < Int64(cache.blockCount * cache.layout.blockTokens), "writeKV: a block off the device")
    return writeJob(k: k, v: v, slots: batch.slots, cache: cache, layer: slots.layer)
  }

  /// Writes k, v A [rows, Hkv × d] into `slots` [rows] of a layer: block × block size + offset; negative: not written.
  ///
  /// - Precondition: slots lie in the cache and differ.
  package func writeKV(k: Tensor, v: Tensor, slots: Span<Int64>, cache: KVCache, layer: Int) {
    require(slots.count == k.rows, "writeKV: one slot a row")
    let capacity = Int64(cache.blockCount * cache.layout.blockTokens)
    for index in slots.indices { require(slots[index] < capacity, "writeKV: slot outside the cache") }
    slots.withUnsafeBufferPointer { buffer in
      guard let first = buffer.baseAddress else { return }
      run(writeJob(k: k, v: v, slots: first, cache: cache, layer: layer), rows: k.rows, columns: k.columns)
    }
  }

  private func run(_ job: swerve_kv_write_job, rows: Int, columns: Int) {
    pool.run(swerve_kv_write_task, job, units: rows, grain: Self.rowGrain(2 * columns))
  }

  private func writeJob(
    k: Tensor, v: Tensor, slots: UnsafePointer<Int64>, cache: KVCache, layer: Int
  ) -> swerve_kv_write_job {
    let layout = cache.layout
    require(k.type == v.type, "writeKV: types")
    require(
      k.columns == layout.headCount * layout.headDim && v.columns == k.columns && v.rows == k.rows, "writeKV: shapes")
    return swerve_kv_write_job(
      kernels: kernels, cache: cache.kernelLayer(layer), k: k.pointer, v: v.pointer, k_stride: k.rowStride,
      v_stride: v.rowStride, type: k.type.kernelType, slots: slots)
  }

  /// Causal attention of a prepared step over one layer: o A [rows, Hq × d] = softmax(scale × q Kᵀ) V for q A of the same
  /// shape. Keys and values come from the cache alone, so this step's must be written first. Softmax and sums in f32, over
  /// partitions of 256 positions merged in index order; a masked token's weight is exactly zero, and slots that were never
  /// written do not matter.
  ///
  /// Products are of the cache's type, to which queries are rounded. Codes of eight bits are exact in bfloat16 and meet
  /// queries of that type; a key's scale multiplies its score, a value's its weight.
  ///
  /// - Parameter scale: > 0, usually 1 / sqrt(d).
  package func attention(
    q: Tensor, cache: KVCache, layer: Int, batch: AttentionBatch, scale: Float, into o: Tensor
  ) {
    var job = attentionJob(q: q, cache: cache, layer: layer, batch: batch, scale: scale, into: o)
    if batch.itemCount > 0 {
      pool.run(swerve_attention_task, job, units: batch.itemCount * batch.layout.headCount)
    }
    if batch.mergeCount > 0 {
      job.items = UnsafePointer(batch.merges)
      pool.run(swerve_attention_merge_task, job, units: batch.mergeCount * batch.layout.headCount, grain: 4)
    }
  }

  /// The same for one segment of a prepared step, whose pieces have been read and given their places (`batch.stage`):
  /// o gets the rows of a sequence with its last segment. A sequence's segments go in order, and all of them before
  /// the next sequence's.
  package func attention(
    segment: StagedSegment, q: Tensor, cache: KVCache, layer: Int, batch: AttentionBatch, scale: Float, into o: Tensor
  ) {
    var job = attentionJob(q: q, cache: cache, layer: layer, batch: batch, scale: scale, into: o)
    batch.stagedItems.withUnsafeBufferPointer { items in
      guard let first = items.baseAddress, !segment.items.isEmpty else { return }
      job.items = first + segment.items.lowerBound
      pool.run(swerve_attention_task, job, units: segment.items.count * batch.layout.headCount)
    }
  }

  private func attentionJob(
    q: Tensor, cache: KVCache, layer: Int, batch: AttentionBatch, scale: Float, into o: Tensor
  ) -> swerve_attention_job {
    let layout = cache.layout
    require(batch.layout == layout, "attention: batch and cache")
    require(q.type == o.type, "attention: types")
    require(q.columns == batch.queryHeads * layout.headDim && o.columns == q.columns, "attention: columns")
    require(q.rows == batch.rowCount && o.rows == q.rows && scale > 0, "attention: rows")
    return swerve_attention_job(
      kernels: kernels, cache: cache.kernelLayer(layer), q: q.pointer, q_stride: q.rowStride, o: o.pointer,
      o_stride: o.rowStride, type: q.type.kernelType, query_heads: batch.queryHeads, blocks: batch.blocks,
      items: batch.items, partials: batch.partials, states: batch.states, scale: scale,
      window: Int32(batch.window ?? 0))
  }
}
