import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

/// A loaded model with a hand-made scheduler: just enough to drive a runner through plans of any shape.
final class Harness {
  let runner: ModelRunner
  let limits: RunnerLimits
  let blockCount: Int
  private var plan = StepPlan()
  private var result = StepResult()
  private var freeBlocks: [BlockID]
  private var freeSlots: [SlotID]
  private var releases: [SlotID] = []
  private var nextRequest: UInt64 = 1

  /// A running sequence.
  final class Sequence {
    let id: SequenceID
    let slot: SlotID
    let sampling: SamplingState
    let promptTokens: Int
    fileprivate(set) var tokens: [TokenID]
    fileprivate(set) var computed = 0
    fileprivate(set) var blocks: [BlockID] = []
    fileprivate var isAdmitted = false
    /// Prompt length that the plan states, where it is not the prompt's own.
    var statedPromptTokens: Int?
    fileprivate(set) var samples: [Sample] = []
    /// Alternatives of each sample.
    fileprivate(set) var alternatives: [[TokenLogprob]] = []
    /// By position.
    fileprivate(set) var prompt: [Int: (chosen: TokenLogprob, alternatives: [TokenLogprob])] = [:]
    var generated: [TokenID] { Array(tokens[promptTokens...]) }

    fileprivate init(id: SequenceID, slot: SlotID, sampling: SamplingState, tokens: [TokenID], promptTokens: Int) {
      self.id = id
      self.slot = slot
      self.sampling = sampling
      self.tokens = tokens
      self.promptTokens = promptTokens
    }
  }

  /// - Parameter permuted: hands out physical blocks in a scrambled order.
  init(
    files: ModelFiles, type: ElementType, kvType: KVType? = nil, kernels: KernelSet? = nil, threads: Int = 1,
    rows: Int = 512,
    sequences: Int = 72, blockTokens: Int = 16, blockCount: Int = 512, contextTokens: Int = 256,
    permuted: UInt64? = nil,
    overrides: JSONObject = [:], quantization: WeightFormat? = nil,
    weights: RunnerConfiguration.Weights = .checkpoint, gathering: GatherConfiguration? = nil
  ) throws {
    limits = RunnerLimits(
      rows: rows, sequences: sequences, contextTokens: contextTokens, blockTokens: blockTokens)
    self.blockCount = blockCount
    let device = try CPUDevice(
      configuration: CPUConfiguration(threadCount: threads, isPinned: false, kernels: kernels, spinMicroseconds: 0))
    var configuration = RunnerConfiguration(
      model: try ModelConfiguration(files, overrides: overrides), type: type, kvType: kvType,
      quantization: quantization, weights: weights, limits: limits)
    if let gathering {
      let file = try #require(try PackedFile(files))
      configuration.gathering = .init(
        plan: try GatherPlan(file.index, model: configuration.model, depth: gathering.depth, path: file.path),
        source: gathering.source, path: file.path)
    }
    runner = try ModelRunner(configuration, files: files, device: device, blockCount: blockCount)
    freeBlocks = (0..<blockCount).reversed().map { BlockID($0) }
    if let permuted {
      var random = Randomness(seed: permuted)
      freeBlocks.shuffle(using: &random)
    }
    freeSlots = (0..<sequences).reversed().map { SlotID($0) }
  }

  static func greedy(_ change: (inout SamplingParams) -> Void = { _ in }) -> SamplingParams {
    var params = SamplingParams(temperature: 0, maxTokens: nil)
    change(&params)
    return params
  }

  /// A new sequence; `recomputed` are tokens generated before a preemption.
  func add(
    _ prompt: [TokenID], _ params: SamplingParams, seed: UInt64 = 0, index: Int32 = 0, recomputed: [TokenID] = [],
    badWords: [[TokenID]] = [], terminators: [TokenID] = []
  ) throws -> Sequence {
    let free = freeSlots.popLast()
    let slot = try #require(free)
    nextRequest += 1
    return Sequence(
      id: SequenceID(request: RequestID(rawValue: nextRequest), index: index), slot: slot,
      sampling: SamplingState(params: params, seed: seed, badWordTokens: badWords, terminators: terminators),
      tokens: prompt + recomputed, promptTokens: prompt.count)
  }

  func remove(_ sequence: Sequence) {
    freeBlocks.append(contentsOf: sequence.blocks.reversed())
    sequence.blocks = []
    if sequence.isAdmitted { releases.append(sequence.slot) }
    freeSlots.append(sequence.slot)
  }

  /// One step: at most `chunk` tokens of each sequence.
  func step(_ sequences: [Sequence], chunk: Int = .max) throws {
    plan.removeAll()
    plan.id += 1
    plan.releases.append(contentsOf: releases)
    releases.removeAll(keepingCapacity: true)
    for sequence in sequences {
      let count = min(chunk, sequence.tokens.count - sequence.computed, limits.rows - plan.tokens.count)
      guard count > 0 else { continue }
      if !sequence.isAdmitted {
        plan.admissions.append(
          Admission(
            sequence: sequence.id, slot: sequence.slot, sampling: sequence.sampling, tokens: sequence.tokens,
            promptTokens: sequence.promptTokens))
        sequence.isAdmitted = true
      }
      let end = sequence.computed + count
      while sequence.blocks.count * limits.blockTokens < end {
        let free = freeBlocks.popLast()
        sequence.blocks.append(try #require(free))
      }
      plan.sequences.append(
        SequenceStep(
          sequence: sequence.id, slot: sequence.slot, firstRow: Int32(plan.tokens.count), rowCount: Int32(count),
          contextTokens: Int32(sequence.computed),
          promptTokens: Int32(sequence.statedPromptTokens ?? sequence.promptTokens),
          firstBlock: Int32(plan.blocks.count), blockCount: Int32(sequence.blocks.count),
          samples: end == sequence.tokens.count))
      plan.tokens.append(contentsOf: sequence.tokens[sequence.computed..<end])
      plan.blocks.append(contentsOf: sequence.blocks)
    }
    try runner.execute(plan, into: &result)
    let stepped = plan.sequences.map { step in sequences.first { $0.id == step.sequence } }
    for (step, sequence) in zip(plan.sequences, stepped) { sequence?.computed += Int(step.rowCount) }
    for entry in result.promptLogprobs {
      let first = Int(entry.firstAlternative)
      stepped[Int(entry.sequenceIndex)]?.prompt[Int(entry.position)] = (
        entry.chosen, Array(result.alternatives[first..<first + Int(entry.alternativeCount)])
      )
    }
    for sample in result.samples {
      guard let sequence = stepped[Int(sample.sequenceIndex)] else { continue }
      let first = Int(sample.firstAlternative)
      sequence.tokens.append(sample.token)
      sequence.samples.append(sample)
      sequence.alternatives.append(Array(result.alternatives[first..<first + Int(sample.alternativeCount)]))
    }
  }

  /// Steps until every sequence has this many generated tokens.
  func generate(_ count: Int, _ sequences: [Sequence], chunk: Int = .max) throws {
    while true {
      let open = sequences.filter { $0.generated.count < count }
      if open.isEmpty { return }
      try step(open, chunk: chunk)
    }
  }
}

extension KernelSet {
  /// The reference and the fastest of this machine.
  static var scalarAndBest: [KernelSet] { best == .scalar ? [.scalar] : [.scalar, best] }
}
