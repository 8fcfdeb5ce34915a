import Glibc
import SwerveCore
import SwerveHardware
import Testing

@Suite struct BenchmarkTests {
  @Test(arguments: testedSets)
  func `The kernel benchmark reports every kernel of a small shape`(_ set: KernelSet) throws {
    var options = KernelBenchmark.Options()
    options.shape = .init(
      name: "tiny", hidden: 64, queryHeads: 4, kvHeads: 2, headDim: 16, intermediate: 96, layers: 2, vocabulary: 256)
    options.types = allTypes
    options.formats = [.int8, .int4(group: 32), .nf4(group: 32), .int8Dynamic, .int4Dynamic(group: 32)]
    options.rows = [1, 9]
    options.contexts = [40]
    options.kvTypes = [.int8, .fp8E4M3]
    options.kvContexts = [5000]
    options.seconds = 0
    options.bandwidthBytes = 8 << 20
    var progressed = 0
    let report = try KernelBenchmark(device: device(set, threads: 2), options: options).run { _ in progressed += 1 }
    #expect(report.lines.count == allTypes.count * (6 * 2 * 6 + 3 + 2 * 2))
    #expect(progressed == report.lines.count)
    #expect(report.lines.allSatisfy { $0.seconds > 0 && $0.bytes > 0 && $0.operations > 0 })
    #expect(report.oneStream > 0 && report.manyStreams > 0 && report.peaks.count == allTypes.count)
    #expect(report.text.count == report.lines.count + 4 + allTypes.count)
  }

  /// The real measurement, for a developer at this room: `SWERVE_BENCH_KERNELS=1 swift test --filter BenchmarkTests`.
  @Test(.enabled(if: getenv("SWERVE_BENCH_KERNELS") != nil))
  func `The kernel benchmark of the half-billion shape`() throws {
    var options = KernelBenchmark.Options()
    if let name = getenv("SWERVE_BENCH_KERNELS"), let type = ElementType(rawValue: String(cString: name)) {
      options.types = [type]
    }
    let set = getenv("SWERVE_CPU_KERNELS").flatMap { KernelSet(rawValue: String(cString: $0)) }
    let device = try CPUDevice(configuration: .init(kernels: set))
    let report = try KernelBenchmark(device: device, options: options).run()
    print(report.text.joined(separator: "\n"))
    #expect(!report.lines.isEmpty)
  }
}
