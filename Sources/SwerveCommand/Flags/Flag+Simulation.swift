import SwerveCore

extension Flag {
  /// What is simulated, and on what. The scheduler's own flags are those of `serve`.
  static let simulation: [Flag] = [
    .string("trace", .simulation, \.simulation.trace, "JSON file of requests, or of streams to make them up from"),
    .double(
      "request-rate", .simulation, \.simulation.requestRate, default: 10, "requests a second, without --trace"),
    .int("num-prompts", .simulation, \.simulation.requestCount, default: 10_000, "requests, without --trace"),
    .int("input-len", .simulation, \.simulation.inputLength, default: 256, "prompt tokens, without --trace"),
    .int("output-len", .simulation, \.simulation.outputLength, default: 128, "tokens to generate, without --trace"),
    .int("seed", .simulation, \.simulation.seed, default: 0, "names the random numbers, without --trace"),
    .int("max-model-len", .simulation, \.engine.maxModelLength, default: "32768", "longest prompt + output in tokens"),
    .double(
      "device-step-ms", .simulation, \.simulation.stepMilliseconds, default: 10,
      "time of a step, whatever it computes: weights are read"),
    .double(
      "device-token-us", .simulation, \.simulation.tokenMicroseconds, default: 50, "time for each computed token"),
    .double(
      "device-context-ns", .simulation, \.simulation.contextNanoseconds, default: 20,
      "time for each token of context that attention reads"),
  ]
}
