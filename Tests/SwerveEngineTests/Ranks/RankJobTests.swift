import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Ranks as processes of a job of Open MPI, where there is one on this machine.
@Suite(.serialized) struct RankJobTests {
  /// The first `mpirun` on the path.
  static let launcher = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    .map { "\($0)/mpirun" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  static var isInstalled: Bool { launcher != nil }

  static func run(_ words: [String]) throws -> (code: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(launcher))
    process.arguments =
      ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"] + words
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
  }

  private func alone(_ type: EngineConfiguration.DType) async throws -> [String] {
    let engine = try await Engine.start(storyConfiguration { $0.dtype = type })
    var lines: [String] = []
    for seed in [nil, 5] as [Int?] {
      var params = SamplingParams(temperature: seed == nil ? 0 : 0.9, maxTokens: 16)
      params.seed = seed
      params.ignoreEos = true
      let request = GenerationRequest(id: "x", prompt: .tokens((1..<40).map { TokenID($0 * 7) }), params: params)
      let answer = try await engine.answer(request)
      lines.append("tokens " + answer.choices[0].tokens.map { String($0.rawValue) }.joined(separator: " "))
    }
    await engine.stop()
    return lines
  }

  @Test(
    .enabled(if: isInstalled, "Open MPI is not installed"), arguments: [EngineConfiguration.DType.float32, .bfloat16])
  func aJobGivesTheTokensOfOneRank(type: EngineConfiguration.DType) async throws {
    let expected = try await alone(type)
    for (tensor, stages) in [(2, 1), (1, 2), (2, 2)] {
      let (code, output) = try Self.run([
        "-np", "\(tensor * stages)", RankProcessTests.program.path, "\(tensor)", "\(stages)", type.rawValue,
      ])
      let lines = output.split(separator: "\n").map(String.init).filter { $0.hasPrefix("tokens") }
      #expect(code == 0 && lines == expected, "tp \(tensor), pp \(stages): \(output)")
    }
  }

  @Test(.enabled(if: isInstalled, "Open MPI is not installed"))
  func aJobOfTheWrongSizeSaysWhatIsNeeded() throws {
    let (code, output) = try Self.run(["-np", "3", RankProcessTests.program.path, "2", "1", "float32"])
    #expect(code != 0 && output.contains("use mpirun -np 2"), "\(output)")
  }
}
