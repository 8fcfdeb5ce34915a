import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

/// Weights fetched into a ring against the same weights in memory.
@Suite struct GatherTests {
  static func gathering(_ depth: Int, _ source: GatherConfiguration.Source = .nvme) -> GatherConfiguration {
    var gathering = GatherConfiguration()
    gathering.depth = depth
    gathering.source = source
    return gathering
  }

  /// Prompts of several lengths, greedy and seeded, with log-probabilities of prompts: tokens, and the bits of all that
  /// was reported.
  static func outcome(
    _ files: ModelFiles, _ type: ElementType, weights: RunnerConfiguration.Weights, gathering: GatherConfiguration?,
    quantization: WeightFormat? = nil
  ) throws -> (tokens: [[TokenID]], bits: [UInt32], traffic: GatherTraffic?) {
    let harness = try Harness(
      files: files, type: type, threads: 2, rows: 64, sequences: 8, blockCount: 64, contextTokens: 128,
      quantization: quantization, weights: weights, gathering: gathering)
    var sequences = [try harness.add([5, 9, 2, 77, 31], Harness.greedy { $0.logprobs = 3 })]
    sequences.append(
      try harness.add((1...40).map { TokenID($0) }, Harness.greedy { $0.promptLogprobs = 2 }, seed: 7))
    var drawn = SamplingParams(temperature: 0.9, topP: 0.95)
    drawn.logprobs = 0
    sequences.append(try harness.add([3, 3, 8], drawn, seed: 11))
    try harness.generate(8, sequences, chunk: 16)
    let bits = sequences.flatMap { sequence in
      sequence.samples.map(\.logprob.bitPattern)
        + sequence.alternatives.flatMap { $0 }.map(\.logprob.bitPattern)
        + sequence.prompt.sorted { $0.key < $1.key }.map(\.value.chosen.logprob.bitPattern)
    }
    return (sequences.map(\.generated), bits, harness.runner.gatherTraffic?())
  }

  @Test(arguments: Fixture.models)
  func `gathered weights give the bits of resident ones`(model: String) throws {
    for type in [ElementType.float32, .bfloat16] {
      let folder = try PackedFileTests.packed(model, type)
      let resident = try Self.outcome(Fixture.files(model), type, weights: .checkpoint, gathering: nil)
      let file = try #require(try PackedFile(folder.files))
      for depth in [1, 3] {
        let gathered = try Self.outcome(
          folder.files, type, weights: PackedFileTests.fromFile, gathering: Self.gathering(depth))
        #expect(gathered.tokens == resident.tokens && gathered.bits == resident.bits, "\(type), depth \(depth)")
        let traffic = try #require(gathered.traffic)
        let plan = try GatherPlan(
          file.index, model: try ModelConfiguration(folder.files), depth: depth, path: file.path)
        // Ten steps at least, each of which reads all layers, eight of them the head.
        #expect(traffic.readBytes >= 8 * plan.roundBytes && traffic.failedItems == 0)
      }
      #expect(resident.traffic == nil)
    }
  }

  @Test(arguments: [WeightFormat.int8, .int4(group: 32), .nf4(group: 64), .int8Dynamic, .int4Dynamic(group: 32)])
  func `quantised weights are gathered too, from disk and page cache`(format: WeightFormat) throws {
    for model in ["llama_gqa_llama3", "qwen2"] {
      let folder = try PackedFileTests.packed(model, .bfloat16, format)
      let resident = try Self.outcome(
        folder.files, .bfloat16, weights: PackedFileTests.fromFile, gathering: nil, quantization: format)
      for source in [GatherConfiguration.Source.nvme, .host] {
        let gathered = try Self.outcome(
          folder.files, .bfloat16, weights: PackedFileTests.fromFile, gathering: Self.gathering(2, source),
          quantization: format)
        #expect(gathered.tokens == resident.tokens && gathered.bits == resident.bits, "\(model), \(source)")
      }
    }
  }

  /// A head of five pieces beside small layers.
  static let wideHead = """
    {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
     "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 5000,
     "tie_word_embeddings": TIED, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "hidden_act": "silu",
     "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
    """

  @Test(arguments: ["true", "false"]) func `a head in pieces gives the bits of the whole`(tied: String) throws {
    let folder = TemporaryFolder()
    folder.write("config.json", Array(Self.wideHead.replacing("TIED", with: tied).utf8))
    let random = RunnerConfiguration.Weights.random(seed: 3)
    for type in [ElementType.float32, .bfloat16] {
      let configuration = RunnerConfiguration(
        model: try ModelConfiguration(folder.files), type: type, weights: random, limits: PackedFileTests.limits)
      _ = try PackedFile.write(
        configuration, files: folder.files, into: folder.path, device: try PackedFileTests.device())
      let file = try #require(try PackedFile(folder.files))
      let plan = try GatherPlan(file.index, model: configuration.model, depth: 2, path: file.path)
      #expect(plan.headPieces.count == 5 && plan.headOutputs.last == 4096..<5000)
      let resident = try Self.outcome(folder.files, type, weights: random, gathering: nil)
      let gathered = try Self.outcome(
        folder.files, type, weights: PackedFileTests.fromFile, gathering: Self.gathering(2))
      #expect(gathered.tokens == resident.tokens && gathered.bits == resident.bits)
    }
  }

  @Test func `the memory plan has the ring instead of the weights`() throws {
    let folder = try PackedFileTests.packed("qwen2", .bfloat16)
    let file = try #require(try PackedFile(folder.files))
    var configuration = RunnerConfiguration(
      model: try ModelConfiguration(folder.files), type: .bfloat16, limits: PackedFileTests.limits)
    configuration.weights = .packed(weightBytes: file.weightBytes, tableBytes: file.tableBytes)
    let resident = try MemoryPlan(configuration, threads: 2)
    let plan = try GatherPlan(file.index, model: configuration.model, depth: 1, path: file.path)
    configuration.gathering = .init(plan: plan, source: .nvme, path: file.path)
    let gathered = try MemoryPlan(configuration, threads: 2)
    #expect(plan.ringBytes == 2 * plan.slotBytes)
    #expect(gathered.weightBytes - plan.ringBytes == file.index.norms.byteCount)
    #expect(gathered.fixedBytes - gathered.weightBytes == resident.fixedBytes - resident.weightBytes)
  }

  @Test func `a file whose layers do not lie together is refused`() throws {
    let folder = try PackedFileTests.packed("qwen3", .bfloat16)
    var index = try #require(try PackedFile(folder.files)).index
    let model = try ModelConfiguration(folder.files)
    let place = try #require(index.matrices.firstIndex { $0.name.contains("layers.1.") })
    index.matrices[place].numbers.offset += 1 << 30
    #expect(throws: ModelFileError.self) { try GatherPlan(index, model: model, depth: 2, path: "model.swerve") }
    index.matrices.remove(at: place)
    #expect(throws: ModelFileError.self) { try GatherPlan(index, model: model, depth: 2, path: "model.swerve") }
  }
}
