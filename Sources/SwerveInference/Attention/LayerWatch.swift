package import SwerveCore
package import SwerveHardware

/// Hears of keys and values as they are written, layer by layer, to send them on while the next layer is computed. Called
/// by the engine thread; must not wait.
package protocol LayerWatch: AnyObject {
  /// A step begins; what it copies and loads is in the cache.
  func begin(_ plan: borrowing StepPlan, cache: KVCache)
  /// The step's rows of a layer are in the cache.
  func wrote(layer: Int, cache: KVCache)
  /// All layers were written. Not called for a step that fails.
  func end()
}

/// Attention on the device, with somebody who watches.
final class WatchedAttention: AttentionPort {
  private let local: LocalAttention
  private let cache: KVCache
  private let watch: any LayerWatch

  init(_ local: LocalAttention, cache: KVCache, watch: any LayerWatch) {
    self.local = local
    self.cache = cache
    self.watch = watch
  }

  func begin(_ plan: borrowing StepPlan) throws -> StepHandle {
    watch.begin(plan, cache: cache)
    return local.begin(plan)
  }

  var blocks: (any BlockMemory)? { local.blocks }

  func slots(layer: Int) -> KVSlots? { local.slots(layer: layer) }

  func submit(layer: Int, microbatch: Int, q: Tensor, k: Tensor, v: Tensor) throws {
    local.submit(layer: layer, microbatch: microbatch, q: q, k: k, v: v)
    watch.wrote(layer: layer, cache: cache)
  }

  func result(layer: Int, microbatch: Int) throws -> Tensor { local.result(layer: layer, microbatch: microbatch) }

  func end(_ handle: StepHandle) -> ResidencyChanges {
    watch.end()
    return local.end(handle)
  }
}
