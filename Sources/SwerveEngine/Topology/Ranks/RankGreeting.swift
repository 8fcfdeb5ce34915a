package import SwerveCore
package import SwerveHardware
package import SwerveInference
import SwerveTiers

/// What a process has to be, to be a rank: sent to it before anything else, as JSON. It answers that it is ready, or why
/// not, before any request is accepted.
package struct RankGreeting: Sendable {
  /// Raised whenever what ranks say to each other changes.
  static let protocolVersion = 4

  package var rank: Int
  package var layout: RankLayout
  /// A folder, or nil for the embedded model.
  package var folder: String?
  package var overrides: JSONObject
  /// Of the whole model; its shape does not matter.
  package var runner: RunnerConfiguration
  package var blockCount: Int
  /// Threads of all ranks on this machine together; nil = as many as there are CPUs.
  package var threads: Int?
  package var kernels: KernelSet
  /// [ranks] CPUs that each keeps to; empty: nobody named some.
  package var cpus: [[Int]?] = []
  /// `ThreadRanks.Start.seconds`
  package var seconds: Double
  /// Of weights, configuration, types and kernels.
  package var fingerprint: String
  /// Data workers of ranks; nil: every rank has all keys and values of its layers.
  package var data: RankDataWorkers?
  /// Whether what ranks tell each other in shared memory is checked over all of its bytes.
  package var checksContent = false
  /// Bytes of each region of keys and values that the process finds with what was left there: its own, where it has some,
  /// and one for each of its data workers; 0: there are none.
  package var regionBytes = 0

  package var files: ModelFiles { folder.map { ModelFiles(folder: $0) } ?? StoryModel.files }

  /// What this rank computes on.
  ///
  /// - Parameters:
  ///   - place: its number among the ranks that compute on this host.
  ///   - ranks: of them; nil: all ranks are on this host.
  package func device(_ place: Int, of ranks: Int? = nil) -> CPUConfiguration {
    let all = CPUConfiguration(threadCount: threads, kernels: kernels)
    return (ranks.map { all.share(place, of: $0) } ?? all.share(place, of: layout)).keeping(to: ownCPUs)
  }

  /// CPUs that this rank keeps to; nil: nobody named some.
  var ownCPUs: [Int]? { cpus.indices.contains(rank) ? cpus[rank] : nil }

  /// The greeting of another rank.
  func of(_ rank: Int) -> RankGreeting {
    var other = self
    other.rank = rank
    return other
  }

  /// Data workers that the rank starts.
  var workerCount: Int { layout.isHolder(rank) ? 0 : data?.count(of: own.shape) ?? 0 }

  /// Blocks with the rank itself.
  var ownBlocks: Int {
    layout.isHolder(rank) ? 0 : data?.quota(of: own.shape, blockCount) ?? blockCount
  }

  /// Bytes of the keys and values with the rank, where it has some, and with each of its data workers.
  func bankBytes() throws -> Int {
    if layout.isHolder(rank) { return 0 }
    let blocks = data?.bankBlocks(of: own.shape, blockCount) ?? blockCount
    return try own.share.layout(type: runner.kvType, blockTokens: runner.limits.blockTokens).blockBytes * blocks
  }

  /// This rank's part.
  package var own: RunnerConfiguration {
    var own = runner
    own.shape = layout.shape(rank)
    return own
  }

  /// - Throws: for files that cannot be read.
  package static func fingerprint(
    files: ModelFiles, runner: RunnerConfiguration, overrides: JSONObject, kernels: KernelSet
  ) throws -> String {
    let digest = try ModelFingerprint.digest(files: files, runner: runner, overrides: overrides, kernels: kernels)
    var bytes = [UInt8](repeating: 0, count: Digest.byteCount)
    bytes.withUnsafeMutableBytes { digest.write(to: $0, at: 0) }
    return bytes.map { String($0, radix: 16) }.joined(separator: ".")
  }

  // MARK: JSON

  package var json: JSON {
    let limits = runner.limits
    var object = JSONObject()
    let numbers: [(String, Int?)] = [
      ("protocol", Self.protocolVersion), ("rank", rank), ("tensor_size", layout.tensorSize), ("rows", limits.rows),
      ("sequences", limits.sequences), ("context", limits.contextTokens), ("block_tokens", limits.blockTokens),
      ("drafts", limits.drafts), ("micro_batches", runner.microBatches), ("blocks", blockCount), ("threads", threads),
      ("region", regionBytes),
    ]
    for (key, value) in numbers { if let value { object[key] = JSON.int(value) } }
    let texts: [(String, String?)] = [
      ("folder", folder), ("type", runner.type.rawValue), ("kv_type", runner.kvType.rawValue),
      ("quantization", runner.quantization?.name), ("kernels", kernels.rawValue), ("fingerprint", fingerprint),
    ]
    for (key, value) in texts { if let value { object[key] = JSON.string(value) } }
    switch runner.weights {
    case .checkpoint: break
    case .random(let seed): object["seed"] = JSON.string(String(seed))
    case .packed(let weights, let tables): object["packed"] = JSON.array([.int(weights), .int(tables)])
    }
    object["stages"] = JSON.array(layout.stages.map { JSON.int($0.count) })
    object["exact"] = JSON.bool(layout.isExact)
    object["checks"] = JSON.bool(checksContent)
    object["overrides"] = JSON.object(overrides)
    object["seconds"] = JSON.double(seconds)
    if let gathering = runner.gathering, layout.holderCount > 0 {
      object["holders"] = JSON.int(layout.holderCount)
      object["depth"] = JSON.int(gathering.plan.depth)
    }
    if !cpus.isEmpty { object["cpus"] = JSON.array(cpus.map { CPUList.json($0) }) }
    if let data { object["data"] = data.json }
    return JSON.object(object)
  }

  /// Reads a greeting and the model's configuration that it names.
  ///
  /// - Throws: a sentence for what is missing or cannot be.
  package init(_ json: JSON) throws {
    func fail(_ what: String) -> RankRefusal {
      RankRefusal(reason: "rank 0 greets with \(what); start all ranks from the same program")
    }
    func number(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
      guard let value = json[key]?.int, range.contains(value) else { throw fail("no usable \(key)") }
      return value
    }
    guard json["protocol"]?.int == Self.protocolVersion else { throw fail("another protocol") }
    folder = json["folder"]?.string
    overrides = json["overrides"]?.object ?? JSONObject()
    let files = folder.map { ModelFiles(folder: $0) } ?? StoryModel.files
    let model = try ModelConfiguration(files, overrides: overrides)
    guard let type = json["type"]?.string.flatMap({ ElementType(rawValue: $0) }),
      let kvType = json["kv_type"]?.string.flatMap({ KVType(rawValue: $0) }),
      let kernels = json["kernels"]?.string.flatMap({ KernelSet(rawValue: $0) })
    else { throw fail("a type or kernel set that this program does not know") }
    var quantization: WeightFormat?
    if let name = json["quantization"]?.string {
      quantization = WeightFormat(name: name)
      if quantization == nil { throw fail("weights in a form that this program does not know") }
    }
    var weights = RunnerConfiguration.Weights.checkpoint
    if let seed = json["seed"]?.string.flatMap({ UInt64($0) }) { weights = .random(seed: seed) }
    if let sizes = json["packed"]?.array?.compactMap(\.int), sizes.count == 2 {
      weights = .packed(weightBytes: sizes[0], tableBytes: sizes[1])
    }
    let sequences = try number("sequences", 1...1 << 20)
    let blockTokens = try number("block_tokens", 16...128)
    guard [16, 32, 64, 128].contains(blockTokens) else { throw fail("no usable block size") }
    let limits = RunnerLimits(
      rows: try number("rows", sequences...1 << 24), sequences: sequences,
      contextTokens: try number("context", 1...1 << 30), blockTokens: blockTokens,
      drafts: try number("drafts", 0...SpeculationConfiguration.tokenRange.upperBound))
    runner = RunnerConfiguration(
      model: model, type: type, kvType: kvType, quantization: quantization, weights: weights, limits: limits)
    if json["micro_batches"] != nil { runner.microBatches = try number("micro_batches", 1...3) }
    let stages = json["stages"]?.array?.compactMap(\.int) ?? []
    layout = try RankLayout(
      model, tensorSize: try number("tensor_size", 1...8), stageCount: stages.count, split: stages,
      isExact: json["exact"]?.bool ?? true)
    if json["holders"] != nil {
      layout.holderCount = try number("holders", 1...255)
      guard let file = try PackedFile(files) else { throw fail("weights to hold that are not packed") }
      runner.gathering = .init(
        plan: try GatherPlan(file.index, model: model, depth: try number("depth", 1...64), path: file.path),
        source: .peers, path: file.path, rankCount: layout.rankCount)
    }
    rank = try number("rank", 1...max(1, layout.rankCount - 1))
    blockCount = try number("blocks", 1...1 << 30)
    threads = nil
    if json["threads"] != nil { threads = try number("threads", 1...4096) }
    regionBytes = try number("region", 0...1 << 56)
    self.kernels = kernels
    guard let seconds = json["seconds"]?.double, seconds > 0, seconds <= 86_400 else {
      throw fail("no usable deadline")
    }
    self.seconds = seconds
    guard let checks = json["checks"]?.bool else { throw fail("no word about checks") }
    checksContent = checks
    cpus = json["cpus"]?.array?.map { CPUList.numbers($0) } ?? []
    fingerprint = json["fingerprint"]?.string ?? ""
    if let words = json["data"] {
      data = RankDataWorkers(words)
      if data == nil { throw fail("no usable data workers") }
    }
  }

  package init(
    rank: Int, layout: RankLayout, folder: String?, overrides: JSONObject, runner: RunnerConfiguration, blockCount: Int,
    threads: Int?, kernels: KernelSet, seconds: Double, fingerprint: String
  ) {
    self.rank = rank
    self.layout = layout
    self.folder = folder
    self.overrides = overrides
    self.runner = runner
    self.blockCount = blockCount
    self.threads = threads
    self.kernels = kernels
    self.seconds = seconds
    self.fingerprint = fingerprint
  }
}

/// Why a process is not the rank it should be.
package struct RankRefusal: Error, Hashable, CustomStringConvertible {
  package var reason: String
  package var description: String { reason }
}
