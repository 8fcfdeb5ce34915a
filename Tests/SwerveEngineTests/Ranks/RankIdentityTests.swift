import SwerveCore
import SwerveEngine
import Testing

/// Same tokens and log-probabilities, bit for bit, however many ranks a model is spread over.
@Suite(.serialized) struct RankIdentityTests {
  /// A way to spread a model.
  struct Spread: Sendable, CustomStringConvertible {
    var tensor = 1
    var stages = 1
    var split: [Int]?
    var microBatches: Int?
    var description: String { "tp \(tensor), pp \(stages), split \(split ?? []), micro-batches \(microBatches ?? 0)" }
  }

  /// Fixtures by family; their weights are replaced by seeded noise in sizes that divide.
  static let families = ["llama_gqa_llama3", "mistral_swa", "qwen2", "qwen3"]
  static let types: [EngineConfiguration.DType] = [.float32, .bfloat16]

  private static let fixtures =
    String(#filePath.dropLast("SwerveEngineTests/Ranks/RankIdentityTests.swift".utf8.count))
    + "SwerveInferenceTests/Fixtures/models/"

  static func fixture(_ family: String) -> String { fixtures + family }

  /// A model of noise: four layers, eight heads over four KV heads, three pieces of vocabulary.
  private func noise(
    _ family: String, _ change: (inout EngineConfiguration) -> Void = { _ in }
  ) -> EngineConfiguration {
    storyConfiguration {
      $0.modelFolder = Self.fixture(family)
      $0.loadFormat = .dummy
      $0.skipTokenizerInit = true
      $0.seed = 7
      $0.configOverrides = [
        "vocab_size": 2600, "hidden_size": 96, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "layer_types": .null,
        "max_position_embeddings": 512,
      ]
      $0.maxModelLength = 256
      $0.threads = 2
      change(&$0)
    }
  }

  private func spread(_ configuration: EngineConfiguration, _ spread: Spread) -> EngineConfiguration {
    var configuration = configuration
    configuration.tensorParallelSize = spread.tensor
    configuration.pipelineParallelSize = spread.stages
    configuration.pipelineSplit = spread.split
    configuration.microBatches = spread.microBatches
    configuration.distributedTimeoutSeconds = 120
    return configuration
  }

  /// Greedy and seeded, with and without log-probabilities of prompts, of many lengths.
  private func requests(_ count: Int, vocabulary: Int) -> [GenerationRequest] {
    (0..<count).map { index in
      let length = 3 + index * 23 % 90
      let prompt = (0..<length).map { TokenID(($0 * 37 + index % 3 * 11) % (vocabulary - 1) + 1) }
      var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 0.8, maxTokens: 6 + index % 9)
      params.seed = index
      params.topP = index % 3 == 1 ? 0.9 : 1
      params.repetitionPenalty = index % 5 == 3 ? 1.2 : 1
      params.ignoreEos = true
      if index % 4 != 3 { params.logprobs = 3 }
      if index % 6 == 1 { params.promptLogprobs = 2 }
      return GenerationRequest(id: "r\(index)", prompt: .tokens(prompt), params: params)
    }
  }

  /// What a run came to. A class: one value, whatever of it a test looks at.
  private final class Run: Sendable {
    let answers: [Answer]
    let detail: String
    let statistics: EngineStatistics

    init(answers: [Answer], detail: String, statistics: EngineStatistics) {
      self.answers = answers
      self.detail = detail
      self.statistics = statistics
    }
  }

  private func answers(
    _ configuration: EngineConfiguration, _ requests: [GenerationRequest]
  ) async throws -> Run {
    let engine = try await Engine.start(configuration)
    var all = try await engine.answers(requests)
    for index in all.indices { all[index].cachedTokens = 0 }
    let detail = engine.report.deviceDetail
    await engine.stop()
    return Run(answers: all, detail: detail, statistics: engine.statistics)
  }

  @Test(arguments: families, types)
  func everySpreadGivesTheBitsOfOneRank(family: String, type: EngineConfiguration.DType) async throws {
    let configuration = noise(family) { $0.dtype = type }
    let requests = requests(12, vocabulary: 2600)
    let alone = try await answers(configuration, requests)
    #expect(alone.answers.allSatisfy { !$0.choices[0].tokens.isEmpty })
    #expect(alone.answers.contains { $0.promptLogprobs != nil && !$0.choices[0].logprobBits.isEmpty })
    for way in [
      Spread(tensor: 2), Spread(tensor: 4), Spread(stages: 2), Spread(stages: 3, split: [1, 2, 1], microBatches: 3),
      Spread(tensor: 2, stages: 2, microBatches: 2),
    ] {
      let found = try await answers(spread(configuration, way), requests)
      #expect(found.answers == alone.answers, "\(way)")
      #expect(found.detail.contains("\(way.tensor * way.stages) ranks"), "\(found.detail)")
    }
  }

  @Test(arguments: [EngineConfiguration.Quantization.int8, .int4, .nf4])
  func roundedWeightsAreRoundedAsWhole(quantization: EngineConfiguration.Quantization) async throws {
    let configuration = noise("llama_gqa_llama3") {
      $0.dtype = .bfloat16
      $0.quantization = quantization
      $0.quantizationGroup = quantization == .int8 ? nil : 32
    }
    let requests = requests(6, vocabulary: 2600)
    let alone = try await answers(configuration, requests)
    for way in [Spread(tensor: 2), Spread(tensor: 4), Spread(stages: 2)] {
      let found = try await answers(spread(configuration, way), requests)
      #expect(found.answers == alone.answers, "\(way)")
    }
  }

  @Test func biasesAreAddedOnce() async throws {
    for family in ["llama_linear_attnbias", "llama_yarn_mlpbias"] {
      let configuration = noise(family) { $0.dtype = .bfloat16 }
      let requests = requests(6, vocabulary: 2600)
      let alone = try await answers(configuration, requests)
      for way in [Spread(tensor: 2), Spread(tensor: 4, stages: 2)] {
        let found = try await answers(spread(configuration, way), requests)
        #expect(found.answers == alone.answers, "\(family), \(way)")
      }
    }
  }

  /// The checked-in checkpoints have sizes that only stages can share.
  @Test(arguments: families, types)
  func stagesOfCheckpointsGiveTheBitsOfOneRank(family: String, type: EngineConfiguration.DType) async throws {
    let configuration = storyConfiguration {
      $0.modelFolder = Self.fixture(family)
      $0.skipTokenizerInit = true
      $0.dtype = type
      $0.maxModelLength = 128
      $0.threads = 2
    }
    let requests = requests(8, vocabulary: 256)
    let alone = try await answers(configuration, requests)
    let stages = try await answers(spread(configuration, Spread(stages: 2, microBatches: 2)), requests)
    #expect(stages.answers == alone.answers)
  }

  @Test(arguments: types)
  func theStoryModelIsTheSameCachedChunkedAndPreempted(type: EngineConfiguration.DType) async throws {
    let requests = requests(24, vocabulary: 4096)
    let alone = try await answers(
      storyConfiguration {
        $0.dtype = type; $0.enablePrefixCaching = false
      }, requests)
    for way in [Spread(tensor: 2), Spread(stages: 2, microBatches: 2), Spread(tensor: 2, stages: 2)] {
      let engine = try await Engine.start(spread(storyConfiguration { $0.dtype = type }, way))
      func check(_ what: Comment) async throws -> Int {
        var found = try await engine.answers(requests)
        let cached = found.reduce(0) { $0 + $1.cachedTokens }
        for index in found.indices { found[index].cachedTokens = 0 }
        #expect(found == alone.answers, what)
        return cached
      }
      _ = try await check("\(way)")
      #expect(try await check("\(way), with prefix hits") > 0)
      await engine.stop()

      let tiny = try await answers(
        spread(
          storyConfiguration {
            $0.dtype = type; $0.kvBlocks = 24; $0.kvCacheBytes = nil; $0.maxModelLength = 256
            $0.maxBatchedTokens = 32; $0.maxSequences = 16; $0.enablePrefixCaching = false
          }, way), requests)
      #expect(tiny.answers == alone.answers, "\(way), chunked at 32, preempted")
      #expect(tiny.statistics.preemptions > 0)
    }
  }

  @Test func choicesAndDraftsAreTheSame() async throws {
    var requests = requests(4, vocabulary: 4096)
    requests[0].params.n = 3
    requests[0].params.temperature = 1
    requests[1].params.n = 2
    requests[1].params.temperature = 0.7
    func configuration(_ speculates: Bool) -> EngineConfiguration {
      storyConfiguration {
        $0.dtype = .bfloat16
        if speculates { $0.speculation = SpeculationConfiguration() }
      }
    }
    let alone = try await answers(configuration(false), requests)
    for way in [Spread(tensor: 2), Spread(stages: 2)] {
      let found = try await answers(spread(configuration(true), way), requests)
      #expect(found.answers == alone.answers, "\(way)")
    }
  }

  @Test func fastSumsRunWhereExactOnesCannot() async throws {
    let configuration = noise("llama_gqa_llama3") {
      $0.dtype = .bfloat16
      $0.configOverrides["num_key_value_heads"] = 2
    }
    let requests = requests(4, vocabulary: 2600)
    await #expect {
      let engine = try await Engine.start(self.spread(configuration, Spread(tensor: 4)))
      await engine.stop()
    } throws: {
      "\($0)".contains("--reduction fast") && "\($0)".contains("possible are 1, 2")
    }
    var fast = spread(configuration, Spread(tensor: 4))
    fast.reduction = .fast
    let found = try await answers(fast, requests)
    #expect(found.answers.allSatisfy { !$0.choices[0].tokens.isEmpty })
    let again = try await answers(fast, requests)
    #expect(again.answers == found.answers, "and give the same again")
  }
}
