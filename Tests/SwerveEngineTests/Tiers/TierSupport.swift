import Foundation
import SwerveCore
import SwerveEngine
import SwerveTiers

/// Whether the long forms of the tests run.
let isLong = ProcessInfo.processInfo.environment["SWERVE_LONG"] == "1"

/// A folder of one test, removed at the end.
final class TestFolder: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "swerve-engine-tiers-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var blocks: String { path + "/kv" }

  func keyFile(_ byte: UInt8 = 7) throws -> String {
    let file = "\(path)/\(byte).key"
    try Data([UInt8](repeating: byte, count: 32)).write(to: URL(filePath: file))
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
    return file
  }

  /// Paths of all block files.
  func blockFiles() throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: blocks).filter { $0.hasSuffix(".kv") }.sorted()
      .map { blocks + "/" + $0 }
  }
}

/// Prompts of about 400 tokens, and what they begin with in common.
func longPrompt(_ number: Int) -> String {
  let sentences = [
    "Once upon a time there was a little mouse who lived in a house of stone near a wide and quiet river. ",
    "The old king had a cat that could sing, and every morning it sat on the wall and sang to the birds. ",
    "In the garden grew a tree with silver apples, and nobody in the village had ever tasted one of them. ",
  ]
  var text = "Story number \(number). "
  for index in 0..<14 { text += sentences[(index + number) % 3] }
  return text
}

func longRequest(_ number: Int, _ change: (inout SamplingParams) -> Void = { _ in }) -> GenerationRequest {
  textRequest(longPrompt(number), id: "long-\(number)") {
    $0.maxTokens = 12
    $0.ignoreEos = true
    $0.logprobs = 2
    $0.temperature = number % 2 == 0 ? 0 : 0.8
    $0.seed = number
    change(&$0)
  }
}

extension Engine {
  /// Block counts of tiers settle when transfers have ended: waits for a condition, at most so long.
  func waits(until holds: @Sendable (EngineStatistics) -> Bool) async throws -> Bool {
    for _ in 0..<2000 {
      if holds(statistics) { return true }
      try await Task.sleep(for: .milliseconds(5))
    }
    return false
  }
}
