import SwerveCore
import SwerveScheduling
import SwerveSimulation

let second: UInt64 = 1_000_000_000

func classes(_ text: String) throws -> ServiceClasses {
  try ServiceClasses(try JSON(parsing: text).object ?? JSONObject())
}

/// A device on which a step takes 10 ms and a token 0.1 ms: 8 decoding sequences make about 740 tokens a second, and
/// prompts are computed at most at 10,000.
func numbers(
  budget: Int = 256, sequences: Int = 16, blockSize: Int = 16, blocks: Int = 1_024, length: Int = 2_048
) -> SchedulerConfiguration {
  SchedulerConfiguration(
    maxBatchedTokens: budget, maxSequences: sequences, blockSize: blockSize, blockCount: blocks, maxModelLength: length)
}

func device() -> DeviceModel {
  var device = DeviceModel()
  device.stepNanoseconds = 10_000_000
  device.tokenNanoseconds = 100_000
  device.contextNanoseconds = 0
  return device
}

func stream(
  _ serviceClass: String = "default", tenant: String = "", rate: Double, prompt: ClosedRange<Int>,
  output: ClosedRange<Int>, arrivals: Workload.Arrivals = .poisson, priority: Int = 0
) -> Workload.Stream {
  var stream = Workload.Stream()
  stream.serviceClass = serviceClass
  stream.tenant = tenant
  stream.rate = rate
  stream.promptTokens = prompt
  stream.outputTokens = output
  stream.arrivals = arrivals
  stream.priority = priority
  return stream
}

/// Runs a workload to its end, or until `end` seconds.
func simulate(
  _ workload: Workload, _ configuration: SchedulerConfiguration, _ policy: any SchedulingPolicy,
  _ classes: ServiceClasses = ServiceClasses(), limits: Simulation.QueueLimits = .init(), until end: Double? = nil,
  checksEvery interval: Int = 97
) throws -> SimulationReport {
  var simulation = try Simulation(
    requests: try workload.requests(classes), configuration: configuration, policy: policy, classes: classes,
    device: device(), limits: limits)
  var steps = 0
  simulation.afterStep = { scheduler, _, _ in
    steps += 1
    if steps % interval == 0 { try scheduler.checkInvariants() }
  }
  try simulation.run(until: end.map { UInt64($0 * 1e9) } ?? .max)
  return simulation.report
}

extension SimulationReport {
  func of(_ name: String) -> ClassReport { classes.first { $0.serviceClass.name == name }! }
}

/// 1 when all have the same, 1/n when one has all (Jain, Chiu, Hawe 1984).
func jainIndex(_ values: [Double]) -> Double {
  let sum = values.reduce(0, +)
  return sum * sum / (Double(values.count) * values.reduce(0) { $0 + $1 * $1 })
}
