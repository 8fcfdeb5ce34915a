import Foundation
import SwerveCore
import SwerveEngine
import Testing

extension EngineConfiguration {
  /// Keys and values with so many workers.
  mutating func separate(
    _ workers: Int, _ launch: DataWorkerConfiguration.Launch = .thread, maximum: Int? = nil, deadline: Double = 30
  ) {
    placement = .separated
    dataWorkers.count = workers
    dataWorkers.maximum = maximum
    dataWorkers.launch = launch
    dataWorkers.deadline = deadline
    dataWorkers.version = testVersion
  }
}

let testVersion = "1.2.3-test"

/// The worker's program, which stands beside the tests.
func workerProcess(version: String = testVersion) throws -> DataWorkerConfiguration.Launch {
  let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
  var folder = URL(filePath: own).deletingLastPathComponent()
  for _ in 0..<3 {
    let path = folder.appending(path: "data-worker-test-support").path
    if FileManager.default.isExecutableFile(atPath: path) { return .process(path: path, arguments: [version]) }
    folder = folder.deletingLastPathComponent()
  }
  // Where the tests are a bundle that another program loads.
  let bundles = CommandLine.arguments.filter { $0.contains(".xctest") } + Bundle.allBundles.map(\.bundlePath)
  for bundle in bundles {
    let path = URL(filePath: bundle).deletingLastPathComponent().appending(path: "data-worker-test-support").path
    if FileManager.default.isExecutableFile(atPath: path) { return .process(path: path, arguments: [version]) }
  }
  throw TestFailure(description: "data-worker-test-support is not beside \(own) nor \(bundles)")
}

struct TestFailure: Error, CustomStringConvertible {
  var description: String
}

/// Greedy and sampled requests over prompts of many lengths, some with several choices, with log-probabilities.
func separationRequests(_ count: Int, choices: Bool = true) -> [GenerationRequest] {
  (0..<count).map { index in
    let text = String(repeating: InvarianceTests.prompts[index % 4] + " ", count: 1 + index % 5)
    return textRequest(text, id: "separated-\(index)") { params in
      params.temperature = index % 3 == 0 ? 0 : 0.9
      params.seed = index
      params.topP = index % 2 == 0 ? 1 : 0.9
      params.topK = index % 4 == 1 ? 40 : 0
      params.logprobs = 2
      params.n = choices && index % 5 == 2 ? 3 : 1
      if params.n > 1 { params.temperature = 1 }
      params.maxTokens = 8 + index % 17
      params.ignoreEos = true
    }
  }
}

/// Each request alone, where parameters and request data are in one place.
func unifiedAnswers(
  _ requests: [GenerationRequest], _ change: (inout EngineConfiguration) -> Void
) async throws -> [[Outcome]] {
  let engine = try await Engine.start(
    storyConfiguration {
      change(&$0)
      $0.enablePrefixCaching = false
    })
  var alone: [[Outcome]] = []
  for request in requests { alone.append(try await engine.answer(request).choices) }
  await engine.stop()
  #expect(engine.statistics.data == DataStatistics())
  return alone
}
