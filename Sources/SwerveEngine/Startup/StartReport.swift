package import SwerveCore
import SwerveInference

/// What the start decided and how long it took: the memory table and the log lines that scripts look for.
package struct StartReport: Sendable {
  /// Weights that are fetched for each step.
  package struct Gathering: Sendable, Hashable {
    package var source: GatherConfiguration.Source
    /// Of a step that goes through all layers and the output head.
    package var stepBytes: Int
    package var bufferCount: Int
    package var bufferBytes: Int

    init(_ gathering: RunnerConfiguration.Gathering) {
      source = gathering.source
      stepBytes = gathering.plan.roundBytes
      bufferCount = gathering.plan.depth + 1
      bufferBytes = gathering.plan.slotBytes
    }

    /// One line for the log and for `--dry-run`.
    package var line: String {
      "Weights are gathered from \(source.rawValue): \(ByteText.binary(stepBytes)) a step through \(bufferCount) "
        + "buffers of \(ByteText.binary(bufferBytes))"
    }
  }

  package struct Memory: Sendable, Hashable {
    package var total = 0
    package var usedByOthers = 0
    package var weights = 0
    /// Whether the weights lie in the page cache, where every process that maps their file shares them.
    package var weightsAreMapped = false
    package var scratch = 0
    package var kv = 0
    /// Host memory for blocks below the device; taken as blocks arrive.
    package var hostTier = 0

    package var free: Int { total - usedByOthers - weights - scratch - kv - hostTier }
  }

  /// The name of the device in log lines.
  package var device = "CPU"
  /// How the device computes, e.g. `2 threads, avx512bf16 kernels`.
  package var deviceDetail = ""
  package var memory = Memory()
  package var elementType = ElementType.bfloat16
  /// What weights are rounded to; nil: they are of `elementType`.
  package var weightFormat: String?
  package var kvType = KVType.bfloat16
  package var blockSize = 16
  /// Keys and values of one block over all layers.
  package var blockBytes = 0
  package var blockCount = 0
  package var maxModelLength = 0
  /// Name and seconds of each stage, in order.
  package var stages: [(name: String, seconds: Double)] = []
  /// One line about blocks below the device; nil without.
  package var tiers: String?
  /// Warnings that a person should read (unused tensors, odd settings).
  package var warnings: [String] = []

  /// nil where all weights are resident.
  package var gathering: Gathering?

  /// Blocks below the device: places in host memory, and in the overflow store.
  package var hostBlocks = 0
  package var storeBlocks = 0

  package var kvTokens: Int { blockCount * blockSize }

  /// "weights", with what is not usual about them.
  private var weightsName: String {
    let notes = [weightFormat, memory.weightsAreMapped ? "mapped" : nil, gathering == nil ? nil : "gathered"].compactMap
    { $0 }
    return "weights" + (notes.isEmpty ? "" : " (\(notes.joined(separator: ", ")))")
  }

  /// One row per use of the device's memory.
  package var memoryTable: [String] {
    let rows =
      [
        ("total", memory.total), ("used by others", memory.usedByOthers),
        (weightsName, memory.weights),
        ("activations peak", memory.scratch), ("graphs", 0), ("KV cache", memory.kv),
      ] + (memory.hostTier > 0 ? [("KV host tier", memory.hostTier)] : []) + [("free", memory.free)]
    var lines = ["Memory on \(device)\(deviceDetail.isEmpty ? "" : " (\(deviceDetail))"):"]
    for (name, bytes) in rows {
      let amount = ByteText.binary(bytes)
      lines.append(
        "  " + name + String(repeating: " ", count: max(1, 20 - name.count))
          + String(repeating: " ", count: max(0, 12 - amount.count)) + amount)
    }
    return lines
  }

  /// What a sequence larger than the device costs, before there is one.
  private var lowerLines: [String] {
    guard hostBlocks + storeBlocks > 0 else { return [] }
    let tokenBytes = blockBytes / max(1, blockSize)
    var lines = [
      "KV below the device: \(ByteText.grouped(hostBlocks * blockSize)) tokens in host memory, "
        + "\(ByteText.grouped(storeBlocks * blockSize)) in the overflow file"
    ]
    if storeBlocks > 0 {
      let largest = min(storeBlocks * blockSize, max(maxModelLength - kvTokens - hostBlocks * blockSize, 0))
      lines.append(
        "Each token in the overflow file costs \(ByteText.binary(tokenBytes)) of reading a step: "
          + "up to \(ByteText.binary(largest * tokenBytes)) for a sequence of \(ByteText.grouped(maxModelLength)) tokens"
      )
    }
    return lines
  }

  package var logLines: [String] {
    var lines: [String] = []
    for stage in stages where stage.name == "weights" {
      lines.append("Loading weights took \(Decimals.fixed(stage.seconds, 2)) seconds")
    }
    lines += memoryTable
    lines.append("Available KV cache memory: \(Decimals.fixed(Double(memory.kv) / Double(1 << 30), 2)) GiB")
    lines.append("\(device) KV cache size: \(ByteText.grouped(kvTokens)) tokens")
    lines.append("KV cache type: \(kvType.rawValue), \(ByteText.binary(blockBytes / max(1, blockSize))) a token")
    if let gathering { lines.append(gathering.line) }
    if let tiers { lines.append(tiers) }
    lines += lowerLines
    let concurrency = maxModelLength == 0 ? 0 : Double(kvTokens) / Double(maxModelLength)
    lines.append(
      "Maximum concurrency for \(ByteText.grouped(maxModelLength)) tokens per request: \(Decimals.fixed(concurrency, 2))x"
    )
    lines.append("Start: " + stages.map { "\($0.name) \(Decimals.fixed($0.seconds, 3)) s" }.joined(separator: ", "))
    let total = stages.reduce(0) { $0 + $1.seconds }
    lines.append(
      "init engine (profile, create kv cache, warmup model) took \(Decimals.fixed(total, 2)) seconds")
    return lines
  }
}
