import SwerveCore
import SwerveEngine
import SwerveHardware

/// `bench kernels`: the machine's limits, each kernel as a share of them, and what sampling adds to a step.
struct KernelsBench {
  let settings: Settings
  let console: Console

  func run() throws {
    var configuration = CPUConfiguration(threadCount: settings.engine.threads, numa: settings.engine.numaBinding)
    if let name = settings.engine.kernelSet {
      guard let kernels = KernelSet(rawValue: name) else {
        let known = KernelSet.available.map(\.rawValue).joined(separator: ", ")
        throw CommandError(.usage, "there is no kernel set \(name); this machine has \(known).")
      }
      configuration.kernels = kernels
    }
    var options = KernelBenchmark.Options()
    options.kvContexts = [32_768]
    options.kvTypes = [.bfloat16, .int8, .fp8E4M3, .fp8E5M2]
    let device = try CPUDevice(configuration: configuration)
    let benchmark = KernelBenchmark(device: device, options: options)
    let report = try benchmark.run { line in
      console.writeError(
        "\(line.name), \(line.format?.name ?? line.type.rawValue), rows \(line.rows): \(Format.fixed(line.seconds * 1e3, 3)) ms\n"
      )
    }
    let rows = 32
    let step = report.lines.first { $0.name == "all linears" && $0.rows == rows }?.seconds ?? .infinity
    let sampling = try SamplerBenchmark(device: device, vocabularySize: benchmark.options.shape.vocabulary).run(
      rows: rows)
    guard settings.general.json else {
      for line in report.text { console.print(line) }
      console.print("sampling of \(rows) rows in addition to the head, and as a share of all linears:")
      for line in sampling {
        let share = Format.fixed(line.seconds / step * 100, 2)
        console.print("  \(line.name): \(Format.fixed(line.seconds * 1e6, 0)) us, \(share) %")
      }
      return
    }
    let lines = report.lines.map { line -> JSON in
      [
        "name": .string(line.name), "type": .string(line.type.rawValue),
        "format": line.format.map { .string($0.name) } ?? .null, "rows": .int(line.rows),
        "seconds": .double(line.seconds), "bytes": .double(line.bytes), "operations": .double(line.operations),
        "bandwidth_share": .double(report.bandwidthShare(line)), "peak_share": .double(report.peakShare(line)),
      ]
    }
    let result: JSON = [
      "kernels": .string(report.kernels.rawValue), "threads": .int(report.threads),
      "barrier_s": .double(report.barrier),
      "one_stream_bytes_per_s": .double(report.oneStream), "many_streams_bytes_per_s": .double(report.manyStreams),
      "lines": .array(lines),
      "sampling": .array(
        sampling.map {
          [
            "name": .string($0.name), "rows": .int($0.rows), "seconds": .double($0.seconds),
            "share": .double($0.seconds / step),
          ]
        }),
    ]
    console.print(result.text)
  }
}
