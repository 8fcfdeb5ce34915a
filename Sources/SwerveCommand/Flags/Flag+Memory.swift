import SwerveAccess
import SwerveCore

extension Flag {
  /// KV cache, memory and everything that would move bytes between devices.
  static let memory: [Flag] = [
    .int("block-size", .memory, \.engine.blockSize, default: 16, "tokens per KV block: 16, 32, 64 or 128"),
    .double(
      "gpu-memory-utilization", .memory, \.engine.memoryUtilization, default: 0.92,
      aliases: ["device-memory-utilization", "mem-fraction-static"],
      "share of the device's memory this process may use"),
    .custom(
      "kv-cache-memory-bytes", .size, .memory, default: "from the share", "exact size of the KV cache: 512MiB, 4GB"
    ) { if case .int(let bytes) = $1 { $0.engine.kvCacheBytes = bytes } },
    .int("num-gpu-blocks-override", .memory, \.engine.kvBlocks, "exact number of KV blocks, for tests"),
    .custom(
      "kv-cache-dtype", .string, .memory, default: "auto",
      "type of keys and values: auto (that of the activations), float32, bfloat16, float16, fp8, fp8_e5m2 or int8"
    ) { settings, value in
      let name = value.text.lowercased()
      settings.engine.kvCacheType = KVType(name: name)
      guard name != "auto", settings.engine.kvCacheType == nil else { return }
      if ["int4", "int4_per_token_head", "nvfp4"].contains(name) {
        throw FlagError("\(value.text) is not supported yet: keys and values have 8 bits or more")
      }
      let names = (["auto"] + KVType.names.keys).sorted().joined(separator: ", ")
      throw FlagError("must be one of \(names), not \(value.text.debugDescription)")
    },
    .later(
      "kv-cache-dtype-skip-layers", .list, .memory, default: "", why: "all layers use one type",
      "layers kept in the model's type"),
    .bool(
      "enable-prefix-caching", .memory, \.engine.enablePrefixCaching, default: true,
      "share the blocks of equal prompt beginnings"),
    .custom(
      "prefix-cache-policy", .words("lru", "cost"), .memory, default: "lru",
      "which cached block goes first: the oldest, or age against the cost of computing it again"
    ) { $0.engine.prefixCachePolicy = .init(rawValue: $1.text) ?? .lru },
    .later(
      "prefix-caching-hash-algo", .words("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"), .memory, default: "sha256",
      why: "block hashes have one form", "hash of prefix blocks"),
    .custom(
      "kv-offloading-size", .gibibytes, .memory, default: "0", aliases: ["swap-space"],
      "GiB of host memory for keys and values that leave the device"
    ) { if case .int(let bytes) = $1 { $0.engine.kvOffloadingBytes = bytes > 0 ? bytes : nil } },
    .later(
      "kv-offloading-backend", .words("native", "lmcache"), .memory, default: "native",
      why: "blocks are moved by the engine itself", "who moves blocks to the host"),
    .later(
      "kv-events-config", .json, .memory, default: "{}", allowed: ["null", #"{"enable_kv_cache_events":false}"#],
      why: "cache events are not published", "publish cache events"),
    .later(
      "cpu-offload-gb", .double, .memory, default: "0", why: "weights have one place", "GiB of weights on the host"),
    .later("cpu-offload-params", .list, .memory, default: "", why: "weights have one place", "weights on the host"),
    .later(
      "offload-group-size", .int, .memory, default: "0", why: "weights have one place", "layers fetched together"),
    .later("offload-num-in-group", .int, .memory, default: "1", why: "weights have one place", "offloaded per group"),
    .later(
      "offload-prefetch-step", .int, .memory, default: "1", why: "weights have one place", "groups fetched ahead"),
    .later(
      "kv-cache-metrics", .bool, .memory, default: "false", why: "block residency is not measured",
      "measure how long blocks stay"),
    .later(
      "kv-cache-metrics-sample", .double, .memory, default: "0.01", why: "block residency is not measured",
      "share of blocks measured"),
    .custom(
      "kv-tiers", .string, .memory, default: "device",
      "where keys and values are kept, fastest first: device=auto,host=32GiB,nvme=500GiB:/folder"
    ) { $0.engine.kvTiers = $1.text == "device" ? nil : $1.text },
    .custom(
      "preemption-mode", .words("auto", "recompute", "swap"), .memory, default: "auto",
      "what happens to preempted requests' keys and values: recomputed, copied to a tier and back, or what is faster"
    ) {
      if case .string(let name) = $1 { $0.engine.preemptionMode = PreemptionMode(rawValue: name) ?? .auto }
    },
    .later(
      "kv-encryption-key-file", .string, .memory, default: "null", why: "the flag is --kv-key-file",
      "key for blocks that leave the device"),
    .later(
      "kv-encryption-scope", .words("off", "offloaded", "all"), .memory, default: "off",
      allowed: ["offloaded"],
      why: "blocks in files are always encrypted, and others never", "which blocks are encrypted"),
    .custom(
      "journal", .string, .memory, default: "null", "folder of the request journal; null keeps none"
    ) { $0.engine.journalFolder = $1.text.isEmpty || $1.text == "null" ? nil : $1.text },
    .int(
      "journal-ttl", .memory, \.engine.journalSeconds, default: 3600,
      "seconds that a request can be asked for again after its last token"),
    .string(
      "kv-key-file", .memory, \.engine.kvKeyFile,
      "file of the key that seals blocks in files: 32 bytes, raw, hexadecimal or base64"),
    .later("zero-on-free", .bool, .memory, default: "false", why: "freed blocks are reused as they are", "wipe blocks"),
  ]
}
