// What an exchange with data workers costs a decode step of an 8B model: 32 layers, batches of 1, 8 and 32, without its
// weights. On a quiet machine:
//
//     swift build -c release --product exchange-benchmark
//     .build/release/exchange-benchmark [--workers 1] [--threads N] [--steps 400] [--launch process|thread]
//
// Prints one JSON object a line: milliseconds of exchange a step (all but what the busiest worker computed), and
// microseconds of this side's code for each layer and worker. Targets: 0.15, 0.45, 1.5 ms; 5 µs.

import SwerveCore
import SwerveEngine

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Started by itself, as one of its workers.
if CommandLine.arguments.dropFirst().first == "data-worker" {
  exit(DataWorkerMain.runProcess(version: "benchmark"))
}

func number(_ name: String) -> Int? {
  guard let place = CommandLine.arguments.firstIndex(of: name), place + 1 < CommandLine.arguments.count else {
    return nil
  }
  return Int(CommandLine.arguments[place + 1])
}

var benchmark = ExchangeBenchmark()
benchmark.workers = max(number("--workers") ?? 1, 1)
benchmark.threads = number("--threads")
benchmark.steps = max(number("--steps") ?? 400, 1)
if !CommandLine.arguments.contains("thread") {
  benchmark.launch = .process(path: DataWorkerMain.ownPath, arguments: ["data-worker"])
}
do {
  try benchmark.run { line in
    func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
    let object: JSONObject = [
      "batch": .int(line.batch), "workers": .int(line.workers), "step_ms": .double(rounded(line.stepSeconds * 1e3)),
      "exchange_ms": .double(rounded(line.exchangeSeconds * 1e3)),
      "begin_us": .double(rounded(line.beginSeconds * 1e6)),
      "code_us_per_layer_and_worker": .double(rounded(line.codeSeconds * 1e6)),
    ]
    print(JSON.object(object).text)
  }
} catch {
  print("exchange-benchmark: \(error)")
  exit(1)
}
