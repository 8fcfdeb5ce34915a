import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

/// A sequence's tokens and log-probabilities are the same bits whatever else runs and however its work is cut.
@Suite struct InvarianceTests {
  struct Run: Sendable, CustomTestStringConvertible {
    var model: String
    var type: ElementType
    var kernels: KernelSet
    var testDescription: String { "\(model) \(type) \(kernels)" }
  }

  static let runs = ["llama_gqa_llama3", "llama_headdim", "mistral_swa", "qwen3", "llama_dynamic"].flatMap { model in
    [ElementType.float32, .bfloat16].flatMap { type in
      (type == .bfloat16 && model == "qwen3" ? KernelSet.available : KernelSet.scalarAndBest).map {
        Run(model: model, type: type, kernels: $0)
      }
    }
  }

  private struct Trace: Equatable {
    var tokens: [TokenID]
    var logprobs: [UInt32]
    var alternatives: [UInt32]
    var prompt: [UInt32]

    init(_ sequence: Harness.Sequence) {
      tokens = sequence.generated
      logprobs = sequence.samples.map(\.logprob.bitPattern)
      alternatives = sequence.alternatives.flatMap { $0.map(\.logprob.bitPattern) }
      prompt = sequence.prompt.sorted { $0.key < $1.key }.map(\.value.chosen.logprob.bitPattern)
    }
  }

  /// Everything is recorded, and a draw at a high temperature would show the smallest difference.
  private static func params(_ index: Int) -> SamplingParams {
    var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 1.5, logprobs: -1, promptLogprobs: 0)
    params.maxTokens = nil
    if index % 3 == 1 { params.topP = 0.9 }
    if index % 4 == 1 { params.topK = 20 }
    return params
  }

  private static let generatedTokens = 12

  /// Traces of the fixture's prompts, each alone, whole, on one thread.
  private func alone(_ run: Run) throws -> [Trace] {
    let harness = try Harness(files: Fixture.files(run.model), type: run.type, kernels: run.kernels)
    return try Fixture.golden(run.model).cases.enumerated().map { index, item in
      let sequence = try harness.add(item.prompt, Self.params(index), seed: UInt64(index))
      try harness.generate(Self.generatedTokens, [sequence])
      defer { harness.remove(sequence) }
      return Trace(sequence)
    }
  }

  private func together(
    _ run: Run, threads: Int = 1, chunk: Int = .max, blockTokens: Int = 16, permuted: UInt64? = nil
  ) throws -> [Trace] {
    let harness = try Harness(
      files: Fixture.files(run.model), type: run.type, kernels: run.kernels, threads: threads, blockTokens: blockTokens,
      permuted: permuted)
    let sequences = try Fixture.golden(run.model).cases.enumerated().map { index, item in
      try harness.add(item.prompt, Self.params(index), seed: UInt64(index))
    }
    try harness.generate(Self.generatedTokens, sequences, chunk: chunk)
    return sequences.map(Trace.init)
  }

  @Test(arguments: runs) func `chunked prompts give the same bits`(run: Run) throws {
    let expected = try alone(run)
    #expect(try together(run, chunk: 16) == expected)
    #expect(try together(run, chunk: 7) == expected)
  }

  @Test(arguments: runs) func `other blocks and other block sizes give the same bits`(run: Run) throws {
    let expected = try alone(run)
    #expect(try together(run, permuted: 1) == expected)
    #expect(try together(run, blockTokens: 64, permuted: 2) == expected)
  }

  @Test(arguments: runs) func `one, two and three threads give the same bits`(run: Run) throws {
    let expected = try alone(run)
    #expect(try together(run, threads: 1) == expected)
    #expect(try together(run, threads: 2) == expected)
    #expect(try together(run, threads: 3, chunk: 50) == expected)
  }

  @Test(arguments: runs) func `a mixed batch of 64 gives the same bits`(run: Run) throws {
    let expected = try alone(run)
    let harness = try Harness(
      files: Fixture.files(run.model), type: run.type, kernels: run.kernels, threads: 2, blockCount: 1024)
    let prompts = try Fixture.golden(run.model).cases
    var random = Randomness(seed: 64)
    // The prompts of interest come into a batch that is already running and changes under them.
    let others = try (0..<59).map { index in
      let prompt = (0..<Int.random(in: 1...90, using: &random)).map { _ in
        TokenID(Int.random(in: 0..<256, using: &random))
      }
      var params = Self.params(index)
      if index % 5 == 0 { params.repetitionPenalty = 1.3 }
      if index % 7 == 0 { params.minP = 0.05 }
      return try harness.add(prompt, params, seed: UInt64(1000 + index))
    }
    try harness.step(others, chunk: 33)
    let sequences = try prompts.enumerated().map { index, item in
      try harness.add(item.prompt, Self.params(index), seed: UInt64(index))
    }
    let running = others[..<30] + sequences + others[30...]
    for step in 0..<40 {
      let open = running.filter { $0.generated.count < (sequences.contains($0) ? Self.generatedTokens : 40) }
      try harness.step(Array(open), chunk: 11 + step)
    }
    #expect(sequences.map(Trace.init) == expected)
  }

  @Test(arguments: runs) func `recomputing after preemption continues with the same bits`(run: Run) throws {
    let expected = try alone(run)
    let harness = try Harness(files: Fixture.files(run.model), type: run.type, kernels: run.kernels)
    for (index, item) in try Fixture.golden(run.model).cases.enumerated() {
      let first = try harness.add(item.prompt, Self.params(index), seed: UInt64(index))
      try harness.generate(5, [first])
      harness.remove(first)
      let second = try harness.add(item.prompt, Self.params(index), seed: UInt64(index), recomputed: first.generated)
      try harness.generate(Self.generatedTokens, [second], chunk: 29)
      #expect(second.generated == expected[index].tokens)
      #expect(second.samples.map(\.logprob.bitPattern) == Array(expected[index].logprobs[5...]))
      harness.remove(second)
    }
  }

  @Test(arguments: KVType.allCases)
  func `a copied block continues like its original, and so does the original beside it`(kvType: KVType) throws {
    let files = Fixture.files("qwen2")
    let item = try Fixture.golden("qwen2").cases[3]
    /// Tokens of a sequence and, from the third step on, of another one that goes on in copies of its blocks.
    func continuation(copies: Bool) throws -> [[TokenID]] {
      let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
      let limits = RunnerLimits(rows: 128, sequences: 2, contextTokens: 128)
      let runner = try ModelRunner(
        RunnerConfiguration(
          model: try ModelConfiguration(files), type: .bfloat16, kvType: kvType, limits: limits),
        files: files, device: device, blockCount: 16)
      var plan = StepPlan()
      var result = StepResult()
      let sampling = SamplingState(params: Harness.greedy(), seed: 0, badWordTokens: [], terminators: [])
      var tokens = [item.prompt]
      var computed = [0]
      for step in 0..<10 {
        if step == 0 || copies && step == 2 {
          plan.admissions = [
            Admission(
              sequence: SequenceID(request: RequestID(rawValue: 1), index: Int32(step)), slot: SlotID(step / 2),
              sampling: sampling, tokens: tokens[0], promptTokens: item.prompt.count)
          ]
        }
        if copies, step == 2 {
          plan.copies = (0..<5).map { BlockCopy(from: BlockID($0), to: BlockID(15 - $0)) }
          tokens.append(tokens[0])
          computed.append(computed[0])
        }
        for index in tokens.indices {
          let context = computed[index]
          plan.sequences.append(
            SequenceStep(
              sequence: SequenceID(request: RequestID(rawValue: 1), index: Int32(2 * index)), slot: SlotID(index),
              firstRow: Int32(plan.tokens.count), rowCount: Int32(tokens[index].count - context),
              contextTokens: Int32(context), promptTokens: Int32(item.prompt.count),
              firstBlock: Int32(plan.blocks.count), blockCount: 5, samples: true))
          plan.tokens += tokens[index][context...]
          plan.blocks += (0..<5).map { BlockID(index == 1 ? 15 - $0 : $0) }
        }
        try runner.execute(plan, into: &result)
        for index in tokens.indices {
          computed[index] = tokens[index].count
          tokens[index].append(result.samples[index].token)
        }
        plan.removeAll()
      }
      return tokens
    }
    let alone = try continuation(copies: false)[0]
    #expect(try continuation(copies: true) == [alone, alone])
  }

  @Test func `a row sampled for several sequences gives each the token of its own seed`() throws {
    let files = Fixture.files("qwen2")
    let prompt = try Fixture.golden("qwen2").cases[3].prompt
    /// First tokens of four choices: computed one by one, or from one row.
    func first(together: Bool) throws -> [Sample] {
      let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 2, isPinned: false))
      let runner = try ModelRunner(
        RunnerConfiguration(
          model: try ModelConfiguration(files), type: .bfloat16,
          limits: RunnerLimits(rows: 512, sequences: 4, contextTokens: 128)),
        files: files, device: device, blockCount: 32)
      var params = SamplingParams(temperature: 1.5)
      params.logprobs = 2
      let sampling = SamplingState(params: params, seed: 11, badWordTokens: [], terminators: [])
      var plan = StepPlan()
      for choice in 0..<4 {
        let id = SequenceID(request: RequestID(rawValue: 1), index: Int32(choice))
        plan.admissions.append(
          Admission(
            sequence: id, slot: SlotID(choice), sampling: sampling, tokens: prompt, promptTokens: prompt.count))
        let rides = together && choice > 0
        plan.sequences.append(
          SequenceStep(
            sequence: id, slot: SlotID(choice), firstRow: Int32(plan.tokens.count),
            rowCount: rides ? 0 : Int32(prompt.count), contextTokens: rides ? Int32(prompt.count) : 0,
            promptTokens: Int32(prompt.count), firstBlock: Int32(plan.blocks.count), blockCount: 5, samples: true))
        if !rides { plan.tokens += prompt }
        plan.blocks += (0..<5).map { BlockID($0 + (rides ? 0 : 5 * choice)) }
      }
      var result = StepResult()
      try runner.execute(plan, into: &result)
      return result.samples
    }
    let alone = try first(together: false)
    #expect(try first(together: true) == alone)
    #expect(Set(alone.map(\.token)).count > 1)
  }
}

extension Harness.Sequence: Equatable {
  static func == (a: Harness.Sequence, b: Harness.Sequence) -> Bool { a === b }
}
