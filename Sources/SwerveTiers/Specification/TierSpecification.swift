/// The tiers a server keeps KV blocks on: what `--kv-tiers` says.
///
///     device=auto,host=32GiB,nvme=500GiB:/var/lib/swerve/kv:dtype=int8:policy=cost
///
/// Tiers stand in the order blocks move down; each at most once. `device` may be left out (it is there anyway). Sizes are
/// a number with KiB, MiB, GiB, TiB (powers of 1024), KB, MB, GB, TB (of 1000) or no unit: bytes.
package struct TierSpecification: Sendable, Hashable {
  package enum DeviceSize: Sendable, Hashable {
    /// As the memory flags of the server say.
    case auto
    case bytes(Int)
  }

  /// What a tier below the device has in common.
  package struct Options: Sendable, Hashable {
    package var precision = TierPrecision.exact
    package var policy = EvictionPolicy.lru
    package var isReadOnly = false

    package init() {}
  }

  package struct Host: Sendable, Hashable {
    package var capacityBytes: Int
    package var options: Options

    package init(capacityBytes: Int, options: Options = Options()) {
      self.capacityBytes = capacityBytes
      self.options = options
    }
  }

  package struct Files: Sendable, Hashable {
    package var capacityBytes: Int
    package var folder: String
    package var options: Options

    package init(capacityBytes: Int, folder: String, options: Options = Options()) {
      self.capacityBytes = capacityBytes
      self.folder = folder
      self.options = options
    }
  }

  package var device = DeviceSize.auto
  package var host: Host?
  package var nvme: Files?

  /// The device alone.
  package init() {}
}
