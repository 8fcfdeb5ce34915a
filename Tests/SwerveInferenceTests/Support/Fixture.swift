// Helpers of this target's tests: fixtures by name, golden numbers, hand-made step plans, a seeded generator.
// Nothing here decides whether a result is right; the tests do. Start with Fixture.

import SwerveCore
import Testing

/// Folders beside this file's folder.
enum Fixture {
  static let root = String(#filePath.dropLast("Support/Fixture.swift".utf8.count)) + "Fixtures/"
  static let models = [
    "llama_dynamic", "llama_gqa_llama3", "llama_headdim", "llama_linear_attnbias", "llama_mha", "llama_yarn_mlpbias",
    "mistral_swa", "qwen2", "qwen3",
  ]

  static func files(_ model: String) -> ModelFiles { ModelFiles(folder: root + "models/" + model) }

  /// The embedded model's files as they lie in the sources.
  static var story: ModelFiles {
    let package = #filePath.dropLast("Tests/SwerveInferenceTests/Support/Fixture.swift".utf8.count)
    return ModelFiles(folder: package + "Sources/CSwerveStoryModel/model")
  }

  static var storyGolden: JSON {
    get throws { try #require(try ModelFiles(folder: root + "story").json("golden.json")) }
  }

  static func golden(_ model: String) throws -> Golden {
    Golden(json: try #require(try files(model).json("golden.json")))
  }
}

/// A fixture's golden.json.
struct Golden {
  var json: JSON

  struct Case {
    var name: String
    var prompt: [TokenID]
    var lastLogits: [Float]
    var interior: [(position: Int, ids: [Int], logits: [Float])]
    var greedy: [TokenID]
    var greedyLogprobs: [Float]
    var smallestGap: Float
    var penalty: Float
    var penalised: [TokenID]
    /// The tolerance's unit: largest magnitude of the logits.
    var scale: Float { lastLogits.reduce(0) { max($0, abs($1)) } }
  }

  var cases: [Case] {
    (json["cases"]?.array ?? []).map { item in
      Case(
        name: item["name"]?.string ?? "", prompt: tokens(item["input_ids"]), lastLogits: floats(item["last_logits"]),
        interior: (item["interior"]?.array ?? []).map {
          ($0["pos"]?.int ?? 0, ($0["top5_ids"]?.array ?? []).compactMap(\.int), floats($0["top5_logits"]))
        },
        greedy: tokens(item["greedy_ids"]), greedyLogprobs: floats(item["greedy_logprobs"]),
        smallestGap: Float(item["greedy_min_gap"]?.double ?? 0),
        penalty: Float(item["repetition_penalty"]?["penalty"]?.double ?? 1),
        penalised: tokens(item["repetition_penalty"]?["ids"]))
    }
  }
}

func tokens(_ json: JSON?) -> [TokenID] { (json?.array ?? []).compactMap(\.int).map { TokenID($0) } }
func floats(_ json: JSON?) -> [Float] { (json?.array ?? []).compactMap(\.double).map { Float($0) } }

/// A small seeded generator (SplitMix64) whose seed a failing test prints.
struct Randomness: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
