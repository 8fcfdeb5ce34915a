// A rank's process, for tests that start some and end one; in a job of Open MPI also rank 0, which prints what it generates:
//   rank-test-support [skew N]             a rank that ProcessRanks started, which is told another n-th plan
//   rank-test-support data-worker          a data worker that such a rank started
//   mpirun -np N rank-test-support TP PP DTYPE
//   mpirun -np N rank-test-support FILE.json      other models and requests; also says what each rank holds and moved

import Glibc
import SwerveCore
import SwerveEngine
import SwerveInference

func number(_ name: String) -> Int? { getenv(name).flatMap { Int(String(cString: $0)) } }

/// One line on standard error.
func complain(_ line: String) {
  let bytes = Array((line + "\n").utf8)
  _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

if CommandLine.arguments.dropFirst().first == "data-worker" { exit(DataWorkerMain.runProcess(version: "")) }
guard let rank = number("OMPI_COMM_WORLD_RANK") else {
  if CommandLine.arguments.count == 3, let skewed = Int(CommandLine.arguments[2]) {
    exit(
      RankProcess.run { number, words in
        // The context of the plan's first sequence: a word that another rank cannot tell from the right one.
        if number == skewed { words.change(4 + 3, to: 1) }
      })
  }
  exit(RankProcess.run())
}
let localRank = number("OMPI_COMM_WORLD_LOCAL_RANK") ?? 0
let localSize = number("OMPI_COMM_WORLD_LOCAL_SIZE") ?? 1
if rank > 0 {
  exit(
    RankProcess.runInJob(localRank: localRank, localSize: localSize) { complain("rank \(rank): \($0)") })
}

let launcher = EngineConfiguration.RankLauncher(rank: rank, localRank: localRank, localSize: localSize)

/// Sizes, model and requests.
struct Job {
  var configuration = EngineConfiguration()
  var requests: [GenerationRequest] = []

  private init(_ launcher: EngineConfiguration.RankLauncher) {
    configuration.maxSequences = 4
    configuration.executor = .mpi
    configuration.launcher = launcher
  }

  /// The embedded model.
  init(_ launcher: EngineConfiguration.RankLauncher, tensor: Int, stages: Int, type: String) {
    self.init(launcher)
    configuration.kvCacheBytes = 16 << 20
    configuration.maxModelLength = 128
    configuration.tensorParallelSize = tensor
    configuration.pipelineParallelSize = stages
    configuration.dtype = .init(rawValue: type) ?? .auto
    for seed in [nil, 5] as [Int?] {
      var params = SamplingParams(temperature: seed == nil ? 0 : 0.9, maxTokens: 16)
      params.seed = seed
      params.ignoreEos = true
      requests.append(
        GenerationRequest(id: "x", prompt: .tokens((1..<40).map { TokenID($0 * 7) }), params: params))
    }
  }

  init(_ file: String, _ launcher: EngineConfiguration.RankLauncher) throws {
    self.init(launcher)
    let files = ModelFiles(folder: file.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 })
    guard let name = file.split(separator: "/").last, let json = try files.json(String(name)) else {
      throw ModelFileError(file: file, reason: "is missing")
    }
    configuration.kvBlocks = 144
    configuration.maxModelLength = 192
    configuration.seed = 7
    configuration.skipTokenizerInit = true
    configuration.maxLogprobs = -1
    configuration.modelFolder = json["folder"]?.string
    configuration.tensorParallelSize = json["tensor"]?.int ?? 1
    configuration.pipelineParallelSize = json["stages"]?.int ?? 1
    configuration.dtype = json["type"]?.string.flatMap { .init(rawValue: $0) } ?? .auto
    configuration.loadFormat = json["load_format"]?.string.flatMap { .init(rawValue: $0) } ?? .auto
    for item in json["requests"]?.array ?? [] {
      var params = SamplingParams(
        temperature: Float(item["temperature"]?.double ?? 0), maxTokens: item["max_tokens"]?.int)
      params.topP = Float(item["top_p"]?.double ?? 1)
      params.seed = item["seed"]?.int
      params.ignoreEos = true
      params.logprobs = 3
      let prompt = (item["prompt"]?.array ?? []).compactMap(\.int).map { TokenID($0) }
      requests.append(GenerationRequest(id: "x", prompt: .tokens(prompt), params: params))
    }
  }
}

do {
  let words = CommandLine.arguments
  let isFile = words.count == 2
  let job =
    isFile
    ? try Job(words[1], launcher)
    : Job(launcher, tensor: Int(words[1]) ?? 1, stages: Int(words[2]) ?? 1, type: words[3])
  let engine = try await Engine.start(job.configuration)
  for request in job.requests {
    var tokens: [String] = []
    var bits: [String] = []
    for try await event in try await engine.generate(request) {
      guard case .delta(let delta) = event else { continue }
      tokens += delta.tokens.map { String($0.rawValue) }
      for position in delta.logprobs {
        bits += [position.chosen.logprob.bitPattern.description]
        bits += position.alternatives.map(\.logprob.bitPattern.description)
      }
    }
    if isFile {
      print("answer", tokens.joined(separator: ","), bits.joined(separator: ","))
    } else {
      print("tokens", tokens.joined(separator: " "))
    }
  }
  await engine.stop()
  if isFile {
    for (index, rank) in (engine.statistics.ranks?.ranks ?? []).enumerated() {
      print("rank", index, rank.kvBytes, rank.tensorBytes, rank.stageBytes)
    }
  }
  exit(0)
} catch {
  complain("rank 0: \(error)")
  exit(3)
}
