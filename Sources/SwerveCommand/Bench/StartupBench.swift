import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// `bench startup`: from a configuration to an engine that takes requests, with the model's files out of the page cache
/// (cold) and in it (warm).
struct StartupBench {
  let bench: BenchSettings
  let console: Console

  func run(_ configuration: EngineConfiguration, _ engines: any EngineProvider) async throws {
    let warmups = bench.iterationsWarmup ?? 1
    let total = bench.iterationsCold + warmups + bench.iterationsWarm
    let display = ProgressDisplay("startup", unit: .count("starts"), console: console)
    var cold: [Double] = []
    var warm: [Double] = []
    for place in 0..<total {
      if place < bench.iterationsCold, let folder = configuration.modelFolder { Self.dropFromPageCache(folder) }
      let start = Clock.now()
      let engine = try await engines.start(configuration, observer: nil) { _ in }
      let seconds = Clock.now() - start
      await engine.stop()
      if place < bench.iterationsCold {
        cold.append(seconds)
      } else if place >= bench.iterationsCold + warmups {
        warm.append(seconds)
      }
      display.update(done: place + 1, total: total)
    }
    display.finish()
    var result = JSONObject()
    for (name, times) in [("cold", cold), ("warm", warm)] where !times.isEmpty {
      let distribution = Distribution(times)
      console.print("Avg \(name) startup time: \(Format.fixed(distribution.mean, 3)) seconds")
      for rank in [10.0, 50, 90, 99] {
        console.print(
          "\(Int(rank))% percentile \(name) startup time: \(Format.fixed(distribution.percentile(rank), 3)) seconds")
      }
      result["avg_\(name)_startup_time"] = .double(distribution.mean)
      result["\(name)_startup_times"] = .array(times.map { .double($0) })
    }
    if let path = bench.outputJSON { try TextFile.write(JSON.object(result).text + "\n", to: path) }
  }

  /// Asks the kernel to forget the files' pages; pages in use elsewhere stay.
  private static func dropFromPageCache(_ folder: String) {
    for name in ModelFiles(folder: folder).names {
      let descriptor = open("\(folder)/\(name)", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      #if os(Linux)
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
      #endif
      close(descriptor)
    }
  }
}
