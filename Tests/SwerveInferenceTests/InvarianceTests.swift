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

  @Test(arguments: [ElementType.float32, .bfloat16])
  func `a copied block continues like its original`(type: ElementType) throws {
    let files = Fixture.files("qwen2")
    let item = try Fixture.golden("qwen2").cases[3]
    func continuation(copies: Bool) throws -> [TokenID] {
      let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
      let limits = RunnerLimits(rows: 128, sequences: 1, contextTokens: 128)
      let runner = try ModelRunner(
        RunnerConfiguration(model: try ModelConfiguration(files), type: type, limits: limits), files: files,
        device: device, blockCount: 16)
      var plan = StepPlan()
      var result = StepResult()
      let sampling = SamplingState(params: Harness.greedy(), seed: 0, badWordTokens: [], terminators: [])
      let id = SequenceID(request: RequestID(rawValue: 1), index: 0)
      var tokens = item.prompt
      var computed = 0
      plan.admissions = [
        Admission(
          sequence: id, slot: SlotID(0), sampling: sampling, tokens: tokens, promptTokens: tokens.count)
      ]
      for step in 0..<10 {
        // From the third step on the sequence lives in copies of its blocks.
        let moved = copies && step >= 2
        if copies, step == 2 { plan.copies = (0..<5).map { BlockCopy(from: BlockID($0), to: BlockID(15 - $0)) } }
        plan.blocks = (0..<5).map { BlockID(moved ? 15 - $0 : $0) }
        plan.tokens = Array(tokens[computed...])
        plan.sequences = [
          SequenceStep(
            sequence: id, slot: SlotID(0), firstRow: 0, rowCount: Int32(tokens.count - computed),
            contextTokens: Int32(computed), promptTokens: Int32(item.prompt.count), firstBlock: 0, blockCount: 5,
            samples: true)
        ]
        try runner.execute(plan, into: &result)
        computed = tokens.count
        tokens.append(result.samples[0].token)
        plan.removeAll()
      }
      return Array(tokens[item.prompt.count...])
    }
    #expect(try continuation(copies: true) == continuation(copies: false))
  }
}

extension Harness.Sequence: Equatable {
  static func == (a: Harness.Sequence, b: Harness.Sequence) -> Bool { a === b }
}
