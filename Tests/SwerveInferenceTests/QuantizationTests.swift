import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

/// Models whose weights were rounded while loading: near the unrounded ones, and as indifferent to the batch.
@Suite struct QuantizationTests {
  struct Run: Sendable, CustomTestStringConvertible {
    var model: String
    var format: WeightFormat
    var type: ElementType
    var kernels: KernelSet
    var testDescription: String { "\(model) \(format.name) \(type) \(kernels)" }
  }

  /// The fixtures' widths are 48, 64 and 96: groups of 32 and 64 fit most of them, the others show what becomes of the
  /// rest.
  static let formats: [WeightFormat] = [
    .int8, .int8Dynamic, .int4(group: 32), .nf4(group: 64), .int4Dynamic(group: 32),
  ]

  static func runs(_ models: [String], _ types: [ElementType], _ sets: [KernelSet]) -> [Run] {
    models.flatMap { model in
      formats.flatMap { format in
        types.flatMap { type in
          sets.map { Run(model: model, format: format, type: type, kernels: $0) }
        }
      }
    }
  }

  /// How far eight, or four, bits may move the logits of these tiny random models: root mean square, as a share of the
  /// logits' own. Unrelated logits would be at 1.4.
  private static func tolerance(_ format: WeightFormat) -> Float {
    switch format {
    case .int8: 0.09
    case .int8Dynamic: 0.13
    default: 1
    }
  }

  @Test(arguments: runs(Fixture.models, [.float32, .bfloat16], KernelSet.scalarAndBest))
  func `logits stay near the reference's`(run: Run) throws {
    let harness = try Harness(
      files: Fixture.files(run.model), type: run.type, kernels: run.kernels, quantization: run.format)
    var worst: Float = 0
    for item in try Fixture.golden(run.model).cases {
      let sequence = try harness.add(item.prompt, Harness.greedy { $0.logprobs = -1 })
      try harness.step([sequence])
      var got = [Float](repeating: .nan, count: item.lastLogits.count)
      for entry in sequence.alternatives[0] { got[Int(entry.token.rawValue)] = entry.logprob }
      // Log-probabilities differ from logits by one constant.
      let offset = zip(got, item.lastLogits).reduce(0) { $0 + $1.0 - $1.1 } / Float(got.count)
      let mean = item.lastLogits.reduce(0, +) / Float(got.count)
      let errors = zip(got, item.lastLogits).reduce(Float(0)) { $0 + ($1.0 - offset - $1.1) * ($1.0 - offset - $1.1) }
      let sizes = item.lastLogits.reduce(Float(0)) { $0 + ($1 - mean) * ($1 - mean) }
      let share = (errors / sizes).squareRoot()
      try #require(!share.isNaN)
      worst = max(worst, share)
      harness.remove(sequence)
    }
    let allowed = Self.tolerance(run.format) + (run.type == .bfloat16 ? 0.04 : 0)
    #expect(worst <= allowed)
    // Rounding that changes nothing would mean that nothing was rounded.
    #expect(worst > 1e-4)
  }

  @Test(arguments: formats)
  func `the story model finds its stories nearly as likely`(format: WeightFormat) throws {
    /// Mean log-probability of the golden stories' tokens.
    func likelihood(_ format: WeightFormat?) throws -> Float {
      let harness = try Harness(
        files: Fixture.story, type: .bfloat16, threads: 2, contextTokens: 1024, quantization: format)
      var sum: Float = 0, count: Float = 0
      for item in try Fixture.storyGolden["cases"]?.array ?? [] {
        let text = tokens(item["prompt_ids"]) + tokens(item["greedy_ids"])
        let sequence = try harness.add(text, Harness.greedy { $0.promptLogprobs = 0 })
        try harness.step([sequence])
        for entry in sequence.prompt.values {
          sum += entry.chosen.logprob
          count += 1
        }
        harness.remove(sequence)
      }
      try #require(count > 100)
      return sum / count
    }
    let loss = try likelihood(nil) - likelihood(format)
    switch format {
    case .int8: #expect(abs(loss) < 0.02)
    case .int8Dynamic: #expect(abs(loss) < 0.05)
    default: #expect(abs(loss) < 0.25)
    }
    #expect(loss != 0)
  }

  private struct Trace: Equatable {
    var tokens: [TokenID]
    var bits: [UInt32]

    init(_ sequence: Harness.Sequence) {
      tokens = sequence.generated
      bits = sequence.samples.map(\.logprob.bitPattern) + sequence.alternatives.flatMap { $0.map(\.logprob.bitPattern) }
    }
  }

  private static let generatedTokens = 10

  private func traces(
    _ run: Run, alone: Bool, threads: Int = 1, chunk: Int = .max, others: Int = 0
  ) throws -> [Trace] {
    let harness = try Harness(
      files: Fixture.files(run.model), type: run.type, kernels: run.kernels, threads: threads,
      quantization: run.format)
    let params = Harness.greedy { $0.logprobs = -1 }
    let sequences = try Fixture.golden(run.model).cases.map { try harness.add($0.prompt, params) }
    if alone {
      for sequence in sequences { try harness.generate(Self.generatedTokens, [sequence]) }
    } else {
      let company = try (0..<others).map { try harness.add([TokenID($0), 7, TokenID(3 * $0 + 1)], params) }
      try harness.generate(Self.generatedTokens, company + sequences, chunk: chunk)
    }
    return sequences.map(Trace.init)
  }

  @Test(
    arguments: runs(["llama_gqa_llama3"], [.bfloat16], KernelSet.available)
      + runs(["qwen3", "llama_headdim"], [.float32, .bfloat16, .float16], [KernelSet.best]))
  func `alone, batched, chunked and on more threads gives the same bits`(run: Run) throws {
    let expected = try traces(run, alone: true)
    #expect(try traces(run, alone: false) == expected)
    #expect(try traces(run, alone: false, chunk: 7, others: 5) == expected)
    #expect(try traces(run, alone: false, threads: 3, chunk: 16, others: 40) == expected)
  }

  @Test(arguments: runs(["llama_gqa_llama3"], [.bfloat16], [KernelSet.best]))
  func `recomputing after preemption continues with the same bits`(run: Run) throws {
    let expected = try traces(run, alone: true)
    let harness = try Harness(
      files: Fixture.files(run.model), type: run.type, kernels: run.kernels, quantization: run.format)
    for (index, item) in try Fixture.golden(run.model).cases.enumerated() {
      let sequence = try harness.add(
        item.prompt, Harness.greedy { $0.logprobs = -1 }, recomputed: Array(expected[index].tokens.prefix(5)))
      try harness.generate(Self.generatedTokens, [sequence], chunk: 29)
      #expect(sequence.generated == expected[index].tokens)
      harness.remove(sequence)
    }
  }

  @Test(arguments: runs(["llama_gqa_llama3", "llama_yarn_mlpbias"], [.bfloat16], [KernelSet.best]))
  func `the memory plan bounds what is allocated, closely`(run: Run) throws {
    let files = Fixture.files(run.model)
    let configuration = RunnerConfiguration(
      model: try ModelConfiguration(files), type: run.type, quantization: run.format,
      limits: RunnerLimits(rows: 256, sequences: 16, contextTokens: 512))
    let plan = try MemoryPlan(configuration, threads: 2)
    let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 2, isPinned: false, spinMicroseconds: 0))
    let runner = try ModelRunner(configuration, files: files, device: device, blockCount: 32)
    let expected = plan.fixedBytes + 32 * plan.blockBytes
    #expect(device.memoryInUseBytes <= expected + 64 * 200)
    #expect(Double(device.memoryInUseBytes) >= 0.9 * Double(expected))
    #expect(runner.warnings == configuration.policy.warnings)
  }

  @Test func `formats save the bytes they promise`() throws {
    func weights(_ format: WeightFormat?) throws -> Double {
      Double(
        try MemoryPlan(
          RunnerConfiguration(
            model: RunnerTests.halfBillion(), type: .bfloat16, quantization: format, weights: .random(seed: 0),
            limits: RunnerLimits(rows: 64, sequences: 8, contextTokens: 1024)), threads: 2
        ).weightBytes)
    }
    let plain = try weights(nil)
    #expect((0.5...0.51).contains(try weights(.int8) / plain))
    #expect((0.5...0.51).contains(try weights(.int8Dynamic) / plain))
    // The head, at eight bits, is more than a quarter of this model.
    #expect((0.32...0.34).contains(try weights(.int4(group: 128)) / plain))
    #expect((0.32...0.34).contains(try weights(.nf4(group: 64)) / plain))
    #expect(try weights(.int4Dynamic(group: 128)) - weights(.int4(group: 128)) < 0.01 * plain)
  }

  @Test func `a matrix takes the largest group that fits, else int8, and says so`() throws {
    let model = try RunnerTests.halfBillion()
    let policy = WeightPolicy(model: model, type: .bfloat16, quantization: .int4(group: 128))
    #expect(policy.format(inputs: 896) == .int4(group: 128))
    // 896 inputs in 2 segments of 448 = 7 x 64.
    #expect(policy.format(inputs: 896, segments: 2) == .int4(group: 64))
    #expect(policy.format(inputs: 160) == .int4(group: 32))
    #expect(policy.format(inputs: 48) == .int8)
    #expect(policy.headFormat == .int8)
    #expect(policy.warnings.count == 1)
    #expect(policy.warnings[0].contains("output") && policy.warnings[0].contains("int4-g64"))
    let small = WeightPolicy(model: model, type: .bfloat16, quantization: .nf4(group: 32))
    #expect(small.format(inputs: 128) == .nf4(group: 32))
    #expect(small.warnings.isEmpty)
    let dynamic = WeightPolicy(model: model, type: .bfloat16, quantization: .int8Dynamic)
    #expect(dynamic.roundsRows && dynamic.format(inputs: 1 << 18) == .int8 && dynamic.headFormat == .int8)
    let four = WeightPolicy(model: model, type: .bfloat16, quantization: .int4Dynamic(group: 128))
    #expect(four.roundsRows && four.headFormat == .int8 && four.format(inputs: 896) == .int4Dynamic(group: 128))
    #expect(four.format(inputs: 96) == .int4Dynamic(group: 32) && four.format(inputs: 48) == .int8Dynamic)
    let plain = WeightPolicy(model: model, type: .float16, quantization: nil)
    #expect(plain.format(inputs: 33) == .plain(.float16) && plain.headFormat == .plain(.float16))
    #expect(plain.warnings.isEmpty && !plain.roundsRows)
  }

  @Test func `a checkpoint tells how it is quantised`() throws {
    /// A handful of bytes that live as long as the process.
    func method(_ text: String) throws -> String? {
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
      bytes.copyBytes(from: text.utf8)
      let file = FileBytes(immortal: UnsafeRawBufferPointer(bytes))
      return try ModelConfiguration.quantizationMethod(ModelFiles(place: "m", memory: ["config.json": file]))
    }
    #expect(try method(#"{"quantization_config": {"quant_method": "awq"}}"#) == "awq")
    #expect(try method(#"{"quantization_config": null}"#) == nil)
    #expect(try method(#"{"quantization_config": {}}"#) == "unknown")
    #expect(try method("{}") == nil)
  }
}
