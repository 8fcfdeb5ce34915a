import SwerveCore
import SwerveHardware

/// `bench kernels`: the machine's limits and each kernel as a share of them.
struct KernelsBench {
  let settings: Settings
  let console: Console

  func run() throws {
    var configuration = CPUConfiguration(threadCount: settings.engine.threads)
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
    let benchmark = KernelBenchmark(device: try CPUDevice(configuration: configuration), options: options)
    let report = try benchmark.run { line in
      console.writeError(
        "\(line.name), \(line.format?.name ?? line.type.rawValue), rows \(line.rows): \(Format.fixed(line.seconds * 1e3, 3)) ms\n"
      )
    }
    guard settings.general.json else {
      for line in report.text { console.print(line) }
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
      "one_stream_bytes_per_s": .double(report.oneStream), "many_streams_bytes_per_s": .double(report.manyStreams),
      "lines": .array(lines),
    ]
    console.print(result.text)
  }
}
