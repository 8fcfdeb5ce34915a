import Glibc
import SwerveEngine
import SwerveHardware
import Testing

@Suite struct SamplerBenchmarkTests {
  @Test func `Every way of sampling is measured`() throws {
    let device = try CPUDevice(configuration: .init(threadCount: 2, isPinned: false))
    var benchmark = SamplerBenchmark(device: device, vocabularySize: 3000)
    benchmark.seconds = 0
    let lines = try benchmark.run(rows: 3)
    #expect(lines.map(\.name) == SamplerBenchmark.ways.map(\.name))
    #expect(lines.allSatisfy { $0.seconds.isFinite && $0.rows == 3 })
  }

  /// For a developer on a busy machine, processor time of one thread: `SWERVE_BENCH_SAMPLER=32 swift test --filter
  /// SamplerBenchmark`. On a quiet one, `swerve bench kernels`.
  @Test(.enabled(if: getenv("SWERVE_BENCH_SAMPLER") != nil))
  func `Sampling of the half-billion shape's vocabulary`() throws {
    let rows = getenv("SWERVE_BENCH_SAMPLER").flatMap { Int(String(cString: $0)) } ?? 32
    let device = try CPUDevice(configuration: .init(threadCount: 1, isPinned: false))
    var benchmark = SamplerBenchmark(device: device, vocabularySize: 151_936)
    benchmark.now = {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
    for line in try benchmark.run(rows: rows) { print("\(line.name): \(Int(line.seconds * 1e6)) us beside the head") }
  }
}
