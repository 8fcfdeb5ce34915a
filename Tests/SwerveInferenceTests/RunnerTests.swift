import CAllocationCounter
import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

@Suite struct RunnerTests {
  private func device(threads: Int = 2) throws -> CPUDevice {
    try CPUDevice(configuration: CPUConfiguration(threadCount: threads, isPinned: false))
  }

  // MARK: Allocation

  /// Decode steps of 24 sequences with every kind of sampling, after a few steps that let reused arrays grow.
  @Test(arguments: [1, 2]) func `a decode step allocates nothing`(threads: Int) throws {
    let files = Fixture.files("mistral_swa")
    let limits = RunnerLimits(rows: 64, sequences: 24, contextTokens: 256)
    let runner = try ModelRunner(
      RunnerConfiguration(model: try ModelConfiguration(files), type: .bfloat16, limits: limits), files: files,
      device: try device(threads: threads), blockCount: 24 * 8)
    var plan = StepPlan()
    var result = StepResult()
    var last = [TokenID](repeating: 7, count: 24)
    for index in 0..<24 {
      var params = SamplingParams(temperature: index % 4 == 0 ? 0 : 0.8, maxTokens: 100)
      if index % 3 == 0 { params.topP = 0.9 }
      if index % 5 == 0 { params.topK = 40 }
      if index % 7 == 1 { params.minP = 0.02 }
      if index % 2 == 1 { params.logprobs = 4 }
      if index % 6 == 2 { params.repetitionPenalty = 1.1 }
      if index % 8 == 3 { params.logitBias = [5: 1] }
      if index % 8 == 4 { params.allowedTokenIds = (0..<200).map { TokenID($0) } }
      if index == 5 { params.logprobTokenIds = [1, 2, 3] }
      params.minTokens = 3
      plan.admissions.append(
        Admission(
          sequence: SequenceID(request: RequestID(rawValue: UInt64(index)), index: 0), slot: SlotID(index),
          sampling: SamplingState(
            params: params, seed: UInt64(index), badWordTokens: index % 9 == 0 ? [[3], [4, 5]] : [], terminators: [2]),
          tokens: [7], promptTokens: 1))
    }
    var counted = 0
    for step in 0..<60 {
      for index in 0..<24 {
        plan.tokens.append(last[index])
        plan.blocks.append(contentsOf: (0..<8).lazy.map { BlockID(index * 8 + $0) })
        plan.sequences.append(
          SequenceStep(
            sequence: SequenceID(request: RequestID(rawValue: UInt64(index)), index: 0), slot: SlotID(index),
            firstRow: Int32(index), rowCount: 1, contextTokens: Int32(step), promptTokens: 1,
            firstBlock: Int32(index * 8),
            blockCount: 8, samples: true))
      }
      let before = allocation_count()
      try runner.execute(plan, into: &result)
      if step >= 10 { counted += allocation_count() - before }
      for (index, sample) in result.samples.enumerated() { last[index] = sample.token }
      plan.removeAll()
    }
    #expect(counted == 0, "50 decode steps made \(counted) allocations")
  }

  // MARK: Memory

  @Test(arguments: Fixture.models, ElementType.allCases)
  func `the memory plan bounds what is allocated, closely`(model: String, type: ElementType) throws {
    let files = Fixture.files(model)
    let limits = RunnerLimits(rows: 256, sequences: 16, contextTokens: 512)
    let configuration = RunnerConfiguration(model: try ModelConfiguration(files), type: type, limits: limits)
    let plan = try MemoryPlan(configuration, threads: 2)
    let device = try device()
    let runner = try ModelRunner(configuration, files: files, device: device, blockCount: 32)
    // Each buffer is readable 64 bytes beyond its end; statistics are outside the device.
    let allowance = 64 * 200
    let expected = plan.fixedBytes + 32 * plan.blockBytes
    #expect(device.memoryInUseBytes <= expected + allowance)
    #expect(Double(device.memoryInUseBytes) >= 0.9 * Double(expected))
    #expect(runner.store.cache.byteCount == 32 * plan.blockBytes)
    #expect(runner.warnings.isEmpty)
  }

  @Test(arguments: KVType.allCases)
  func `the memory plan follows the type of keys and values`(kvType: KVType) throws {
    let files = Fixture.files("qwen3")
    let limits = RunnerLimits(rows: 64, sequences: 4, contextTokens: 128)
    let model = try ModelConfiguration(files)
    let configuration = RunnerConfiguration(model: model, type: .bfloat16, kvType: kvType, limits: limits)
    let plan = try MemoryPlan(configuration, threads: 2)
    let perHead = model.headDim * kvType.byteCount + (kvType.isScaled ? 2 : 0)
    #expect(plan.blockBytes == 16 * model.layerCount * 2 * model.keyValueHeadCount * perHead)
    let runner = try ModelRunner(configuration, files: files, device: try device(), blockCount: 8)
    #expect(runner.store.cache.byteCount == 8 * plan.blockBytes)
  }

  @Test func `the plan of the half-billion shape is what its file weighs`() throws {
    let plan = try MemoryPlan(
      RunnerConfiguration(
        model: Self.halfBillion(), type: .bfloat16, weights: .random(seed: 0),
        limits: RunnerLimits(rows: 2048, sequences: 128, contextTokens: 32_768)), threads: 2)
    #expect((987_000_000...990_000_000).contains(plan.weightBytes))
    #expect(plan.blockBytes == 16 * 24 * 2 * 128 * 2)
    #expect(plan.fixedBytes - plan.weightBytes < 200 << 20)
  }

  /// The configuration of Qwen2.5-0.5B.
  static func halfBillion() throws -> ModelConfiguration {
    try ModelConfiguration(
      [
        "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32_768,
        "rope_theta": 1_000_000.0, "rms_norm_eps": 1e-6, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
      ], file: "config.json")
  }

  @Test(arguments: [
    ("llama_mha", 1), ("llama_gqa_llama3", 1), ("llama_dynamic", 1), ("mistral_swa", 1), ("qwen3", 1),
  ]) func `fixtures are too small for reduction shards`(model: String, shards: Int) throws {
    #expect(try ModelConfiguration(Fixture.files(model)).reductionShards == shards)
  }

  @Test func `reduction shards divide the KV heads and the widths in whole tiles`() throws {
    #expect(try ModelConfiguration(Fixture.story).reductionShards == 2)
    #expect(try Self.halfBillion().reductionShards == 2)
    var configuration = try Self.halfBillion()
    configuration.keyValueHeadCount = 16
    configuration.headCount = 16
    configuration.headDim = 128
    configuration.intermediateSize = 14_336
    #expect(configuration.reductionShards == 8)
  }

  // MARK: Random weights

  @Test(arguments: ["llama_yarn_mlpbias", "qwen2", "qwen3"], ElementType.allCases)
  func `random weights need no file and follow their seed`(model: String, type: ElementType) throws {
    let configuration = try #require(try Fixture.files(model).file("config.json"))
    let files = ModelFiles(place: "m", memory: ["config.json": configuration])
    func generated(_ seed: UInt64) throws -> [Float] {
      let harness = try Harness(files: files, type: type, weights: .random(seed: seed))
      let sequence = try harness.add([1, 2, 3], Harness.greedy { $0.logprobs = 0 })
      try harness.generate(8, [sequence])
      let isFinite = sequence.samples.allSatisfy { $0.logprob.isFinite && $0.logprob < 0 }
      #expect(isFinite)
      return sequence.samples.map(\.logprob)
    }
    #expect(try generated(1) == generated(1))
    #expect(try generated(1) != generated(2))
  }

  // MARK: Faults

  @Test func `progress rises from zero to one`() throws {
    let files = Fixture.files("llama_mha")
    var shares: [Double] = []
    _ = try ModelRunner(
      RunnerConfiguration(
        model: try ModelConfiguration(files), type: .float32,
        limits: RunnerLimits(rows: 16, sequences: 4, contextTokens: 64)), files: files, device: try device(),
      blockCount: 4, progress: { shares.append($0) })
    #expect(shares.first == 0 && shares.last == 1)
    #expect(shares == shares.sorted())
  }

  @Test func `tensors nobody reads are a warning`() throws {
    let files = Fixture.files("qwen3")
    let runner = try ModelRunner(
      RunnerConfiguration(
        model: try ModelConfiguration(files, overrides: ["num_hidden_layers": 1]), type: .float32,
        limits: RunnerLimits(rows: 16, sequences: 4, contextTokens: 64)), files: files, device: try device(),
      blockCount: 4)
    #expect(runner.warnings.count == 1)
    #expect(runner.warnings.first?.contains("11 tensors are not part of Qwen3ForCausalLM") == true)
  }

  @Test func `an impossible pool is refused and not attempted`() throws {
    let files = Fixture.files("llama_mha")
    let configuration = RunnerConfiguration(
      model: try ModelConfiguration(files), type: .float32,
      limits: RunnerLimits(rows: 16, sequences: 4, contextTokens: 64))
    for blocks in [0, -1, 1 << 50, Int.max] {
      #expect(throws: HardwareError.self) {
        try ModelRunner(configuration, files: files, device: try device(), blockCount: blocks)
      }
    }
  }

  @Test func `releasing a slot forgets its sequence`() throws {
    let harness = try Harness(files: Fixture.files("qwen2"), type: .float32, sequences: 1)
    let item = try Fixture.golden("qwen2").cases[1]
    for _ in 0..<3 {
      let sequence = try harness.add(item.prompt, Harness.greedy { $0.repetitionPenalty = item.penalty })
      try harness.generate(24, [sequence])
      #expect(sequence.generated == item.penalised)
      harness.remove(sequence)
    }
  }

  @Test func `dtype auto is the checkpoint's own`() throws {
    func type(_ dtype: EngineConfiguration.DType, _ overrides: JSONObject) throws -> ElementType {
      RunnerConfiguration.elementType(
        dtype, model: try ModelConfiguration(Fixture.files("qwen2"), overrides: overrides))
    }
    #expect(try type(.auto, [:]) == .bfloat16)
    #expect(try type(.auto, ["torch_dtype": "float16"]) == .float16)
    #expect(try type(.auto, ["torch_dtype": "float32"]) == .float32)
    #expect(try type(.auto, ["torch_dtype": nil]) == .bfloat16)
    #expect(try type(.float32, ["torch_dtype": "float16"]) == .float32)
    let files = Fixture.files("llama_headdim")
    let silent = try ModelConfiguration(files, overrides: ["torch_dtype": nil])
    let checkpoint = try Checkpoint(files)
    #expect(RunnerConfiguration.elementType(.auto, model: silent, checkpoint: checkpoint) == .float32)
  }
}
