// A rank's process, for tests that start some and end one; in a job of Open MPI also rank 0, which prints what it generates:
//   rank-test-support [skew N]             a rank that ProcessRanks started, which is told another n-th plan
//   mpirun -np N rank-test-support TP PP DTYPE

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

var configuration = EngineConfiguration()
configuration.kvCacheBytes = 16 << 20
configuration.maxSequences = 4
configuration.maxModelLength = 128
configuration.executor = .mpi
configuration.launcher = .init(rank: rank, localRank: localRank, localSize: localSize)
configuration.tensorParallelSize = Int(CommandLine.arguments[1]) ?? 1
configuration.pipelineParallelSize = Int(CommandLine.arguments[2]) ?? 1
configuration.dtype = .init(rawValue: CommandLine.arguments[3]) ?? .auto
do {
  let engine = try await Engine.start(configuration)
  for seed in [nil, 5] as [Int?] {
    var params = SamplingParams(temperature: seed == nil ? 0 : 0.9, maxTokens: 16)
    params.seed = seed
    params.ignoreEos = true
    let request = GenerationRequest(id: "x", prompt: .tokens((1..<40).map { TokenID($0 * 7) }), params: params)
    var tokens: [Int32] = []
    for try await event in try await engine.generate(request) {
      if case .delta(let delta) = event { tokens += delta.tokens.map(\.rawValue) }
    }
    print("tokens", tokens.map(String.init).joined(separator: " "))
  }
  await engine.stop()
  exit(0)
} catch {
  complain("rank 0: \(error)")
  exit(3)
}
