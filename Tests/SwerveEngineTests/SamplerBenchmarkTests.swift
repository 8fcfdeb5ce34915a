import Glibc
import SwerveEngine
import SwerveHardware
import Testing

@Suite struct SamplerBenchmarkTests {
  @Test func `Every way of sampling is measured`() throws {
    var benchmark = SamplerBenchmark(
      device: try CPUDevice(configuration: .init(threadCount: 2, isPinned: false)),
      shape: .init(
        name: "tiny", hidden: 32, queryHeads: 2, kvHeads: 1, headDim: 16, intermediate: 64, layers: 1, vocabulary: 3000)
    )
    benchmark.seconds = 0
    let lines = try benchmark.run(rows: 3)
    #expect(lines.map(\.name) == SamplerBenchmark.ways.map(\.name))
    #expect(lines.allSatisfy { $0.seconds.isFinite && $0.rows == 3 })
  }

  /// The real measurement, for a developer at this room: `SWERVE_BENCH_SAMPLER=32 swift test --filter SamplerBenchmark`.
  @Test(.enabled(if: getenv("SWERVE_BENCH_SAMPLER") != nil))
  func `Sampling of the half-billion shape's vocabulary`() throws {
    let rows = getenv("SWERVE_BENCH_SAMPLER").flatMap { Int(String(cString: $0)) } ?? 32
    let device = try CPUDevice()
    device.pinCallingThread()
    for line in try SamplerBenchmark(device: device, vocabularySize: 151_936).run(rows: rows) {
      print("\(line.name): \(Int(line.seconds * 1e6)) us beside the head")
    }
  }
}
