import Swerve
import SwerveCore
import Synchronization
import Testing

@Suite(.serialized) struct LLMTests {
  private let small: EngineArguments = ["kv_cache_memory_bytes": 33_554_432, "max_model_len": 512]

  @Test func manyPromptsComeBackInTheirOrder() async throws {
    let llm = try await LLM(arguments: small)
    let prompts: [Prompt] = ["Once upon a time", "The fox", [1, 2, 3], "In the forest there lived a king"]
    let finished = Mutex(0)
    let outputs = try await llm.generate(prompts, SamplingParams(temperature: 0, maxTokens: 8)) { count in
      finished.withLock { $0 = max($0, count) }
    }
    #expect(outputs.count == 4)
    #expect(outputs[0].prompt == "Once upon a time")
    #expect(outputs[2].promptTokenIds == [1, 2, 3])
    #expect(outputs.allSatisfy { $0.finished && $0.outputs.count == 1 && $0.outputs[0].tokenIds.count <= 8 })
    #expect(outputs.allSatisfy { $0.outputs[0].finishReason != nil && !$0.outputs[0].tokenIds.isEmpty })
    #expect(finished.withLock { $0 } == 4)
    for (prompt, output) in zip(prompts, outputs) {
      let alone = try await llm.generate(prompt, SamplingParams(temperature: 0, maxTokens: 8))
      #expect(alone.outputs[0].tokenIds == output.outputs[0].tokenIds)
    }
    await llm.shutdown()
  }

  @Test func eachPromptMayHaveItsOwnParameters() async throws {
    let llm = try await LLM(arguments: small)
    let params = [3, 5].map { SamplingParams(n: 2, temperature: 1, seed: 4, maxTokens: $0, logprobs: 1) }
    let outputs = try await llm.generate(
      ["Once", "Once"],
      params.map {
        var p = $0; p.ignoreEos = true; return p
      })
    #expect(outputs.map { $0.outputs.map(\.tokenIds.count) } == [[3, 3], [5, 5]])
    #expect(outputs[1].outputs.allSatisfy { $0.logprobs?.count == 5 && $0.cumulativeLogprob != nil })
    await #expect(throws: RequestError.self) { try await llm.generate(["a", "b"], [SamplingParams()]) }
    await #expect(throws: RequestError.self) { try await llm.generate("a", SamplingParams(temperature: 9)) }
    await llm.shutdown()
  }

  @Test func aConversationIsAnswered() async throws {
    let llm = try await LLM(arguments: small)
    let answer = try await llm.chat([.user("Hello!")], SamplingParams(temperature: 0, maxTokens: 40))
    #expect(answer.outputs[0].finishReason == .stop)
    #expect(answer.prompt?.contains("Hello!") == true)
    await llm.shutdown()
  }

  @Test func aStreamGrowsAndEndsFinished() async throws {
    let llm = try await AsyncLLM(configuration: try small.apply(to: EngineConfiguration()))
    var texts: [String] = []
    var last: RequestOutput?
    for try await output in try await llm.generate("Once upon a time", SamplingParams(temperature: 0, maxTokens: 12)) {
      texts.append(output.outputs[0].text)
      last = output
    }
    #expect(texts.count > 3)
    for (earlier, later) in zip(texts, texts.dropFirst()) { #expect(later.hasPrefix(earlier)) }
    #expect(last?.finished == true)
    await llm.shutdown()
    await #expect(throws: RequestError.self) { _ = try await llm.generate("Once") }
  }

  @Test(arguments: ["max_model_len", "maxModelLen", "max-model-len"])
  func argumentsHaveThreeSpellings(name: String) throws {
    let configuration = try EngineArguments([(name, JSON.int(128))].reduce(into: JSONObject()) { $0[$1.0] = $1.1 })
      .apply(to: .offline)
    #expect(configuration.maxModelLength == 128)
  }

  @Test(arguments: [
    ("max_model_length", JSON.int(1)), ("seed", "one"), ("tensor_parallel_size", 2), ("block_size", 17),
    ("quantization", "awq"), ("quantization_config", JSON.object(["bits": 4])), ("kv_cache_dtype", "int4"),
    ("kv_cache_dtype", 8),
    ("dtype", "int3"),
  ])
  func wrongArgumentsAreErrors(name: String, value: JSON) {
    var members = JSONObject()
    members[name] = value
    #expect(throws: RequestError.self) { try EngineArguments(members).apply(to: .offline) }
  }

  @Test func quantizationHasItsNames() throws {
    let arguments: EngineArguments = ["quantization": "int4", "quantizationConfig": ["group_size": 32]]
    let configuration = try arguments.apply(to: .offline)
    #expect(configuration.quantization == .int4 && configuration.quantizationGroup == 32)
    let other: EngineArguments = ["quantization": "bitsandbytes"]
    #expect(try other.apply(to: .offline).quantization == .nf4)
  }

  @Test func speculationIsAnArgument() throws {
    let arguments: EngineArguments = ["speculativeConfig": ["method": "ngram", "num_speculative_tokens": 5]]
    #expect(try arguments.apply(to: .offline).speculation?.tokens == 5)
    let off: EngineArguments = ["speculative_config": nil]
    #expect(try off.apply(to: .offline).speculation == nil)
    let eagle: EngineArguments = ["speculative_config": ["method": "eagle"]]
    let none: EngineArguments = ["speculative_config": ["method": "ngram", "num_speculative_tokens": 0]]
    let word: EngineArguments = ["speculative_config": "ngram"]
    for wrong in [eagle, none, word] {
      #expect(throws: RequestError.self) { try wrong.apply(to: .offline) }
    }
  }

  @Test func neutralValuesOfMissingFeaturesPass() throws {
    let arguments: EngineArguments = [
      "tensorParallelSize": 1, "kv_cache_dtype": "auto", "enforce_eager": true, "quantization": nil, "dtype": "half",
    ]
    #expect(try arguments.apply(to: .offline).dtype == .float16)
    let cache: EngineArguments = ["kvCacheDtype": "int8_per_token_head"]
    #expect(try cache.apply(to: .offline).kvCacheType == .int8)
  }
}
