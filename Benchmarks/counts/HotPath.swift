import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import SwerveScheduling
import SwerveText

/// Something a step does, ready to be done again and again.
struct HotPath: Sendable {
  var name: String
  /// Builds the operands; the answer does the work once.
  var prepare: @Sendable () throws -> () throws -> Void

  static let all: [HotPath] =
    [
      linear("linear-bf16-1", rows: 1, type: .bfloat16), linear("linear-bf16-16", rows: 16, type: .bfloat16),
      linear("linear-f32-4", rows: 4, type: .float32), HotPath(name: "attention-decode", prepare: attention),
      HotPath(name: "scheduler-step-256", prepare: schedulerStep), HotPath(name: "detokenize-64", prepare: detokenize),
    ]
    + [
      sampler("sampler-greedy", SamplingParams(temperature: 0)),
      sampler("sampler-draw", SamplingParams(temperature: 1)),
      sampler("sampler-top-p", SamplingParams(temperature: 0.7, topP: 0.9)),
      sampler("sampler-top-k", SamplingParams(temperature: 0.7, topK: 50)),
      sampler("sampler-min-p", SamplingParams(temperature: 0.7, minP: 0.05)),
      sampler("sampler-logprobs", SamplingParams(temperature: 0, logprobs: 5)),
    ]

  private static func device() throws -> CPUDevice {
    try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false, kernels: .scalar))
  }

  private static func linear(_ name: String, rows: Int, type: ElementType) -> HotPath {
    HotPath(name: name) {
      let device = try device()
      let weight = try device.packRandom(rows: [512], columns: 256, seed: 1, scale: 0.1, type: type)
      let x = Rows(type, rows, 256)
      let y = Rows(.float32, rows, 512)
      return { device.linear(x.tensor, weight, into: y.tensor) }
    }
  }

  /// One layer for four sequences of 500 tokens.
  private static func attention() throws -> () throws -> Void {
    let device = try device()
    let layout = try KVLayout(type: .bfloat16, blockTokens: 16, headCount: 2, headDim: 64, layerCount: 1)
    let cache = try KVCache(layout: layout, blockCount: 128, device: device)
    let blocks = (0..<128).map { BlockID($0) }
    let batch = try AttentionBatch(
      device: device, layout: layout, queryHeads: 8, maxRows: 4, maxSequences: 4, maxBlockEntries: 128)
    let sequences = (0..<4).map {
      AttentionSequence(firstRow: Int32($0), rowCount: 1, contextTokens: 499, firstBlock: Int32($0 * 32))
    }
    let queries = Rows(.bfloat16, 4, 8 * 64)
    return {
      batch.prepare(sequences: sequences.span, blocks: blocks.span)
      device.attention(
        q: queries.tensor, cache: cache, layer: 0, batch: batch, scale: 0.125, into: queries.tensor)
    }
  }

  /// Schedule and apply a decode step of 256 sequences.
  private static func schedulerStep() throws -> () throws -> Void {
    var scheduler = try Scheduler(
      configuration: SchedulerConfiguration(
        maxBatchedTokens: 8192, maxSequences: 256, blockSize: 16, blockCount: 8192, maxModelLength: 2048))
    for id in 0..<256 {
      try scheduler.add(
        WaitingRequest(
          request: RequestID(rawValue: UInt64(id)), promptTokens: (0..<20).map { TokenID($0 * 300 + id) },
          sampling: SamplingState(
            params: SamplingParams(temperature: 0), seed: 0, badWordTokens: [], terminators: [TokenID(100_000)])))
    }
    var plan = StepPlan()
    var result = StepResult()
    var outputs: [SequenceOutput] = []
    let step = {
      scheduler.schedule(into: &plan)
      result.removeAll()
      for index in 0..<plan.sequences.count where plan.sequences[index].samples {
        result.samples.append(Sample(sequenceIndex: Int32(index), token: TokenID(index)))
      }
      scheduler.apply(plan, result, into: &outputs)
    }
    // The prompts.
    step()
    return step
  }

  /// Sixty-four tokens of a story, one by one.
  private static func detokenize() throws -> () throws -> Void {
    let tokenizer = try Tokenizer(files: StoryModel.files)
    let text = "Once upon a time there was a little dog who liked to run in the park with his friends. "
    let ids = Array(tokenizer.encode(text + text + text + text, addSpecialTokens: false).prefix(64))
    return {
      var stream = IncrementalDetokenizer(tokenizer)
      var bytes = 0
      for id in ids { bytes += stream.append(id.rawValue)?.utf8.count ?? 0 }
      if bytes == 0 { fail("the detokenizer gave no text") }
    }
  }

  private static func sampler(_ name: String, _ params: SamplingParams) -> HotPath {
    HotPath(name: name) {
      let path = try SamplerPath(params, device: device())
      return { path.run() }
    }
  }
}

/// Rows of numbers with their memory, zero at first.
private final class Rows {
  let tensor: Tensor

  init(_ type: ElementType, _ rows: Int, _ columns: Int) {
    let bytes = rows * columns * type.byteCount + 64
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    tensor = Tensor(pointer: memory, type: type, rows: rows, columns: columns)
  }

  deinit { tensor.pointer.deallocate() }
}

/// Rows of a vocabulary of 32,000, from raw logits to tokens.
private final class SamplerPath {
  private static let vocabulary = 32_000
  private static let rows = 2
  private let params: SamplingParams
  private let sampler: Sampler
  private let raw: Rows
  private let logits: Rows
  private let work: Rows
  private var tasks: [Sampler.Task] = []
  private var result = StepResult()

  init(_ params: SamplingParams, device: CPUDevice) throws {
    self.params = params
    let width = Sampler.paddedWidth(Self.vocabulary)
    sampler = try Sampler(
      vocabularySize: Self.vocabulary, sequences: Self.rows, contextTokens: 64, tileRows: Self.rows, device: device)
    raw = Rows(.float32, Self.rows, width)
    logits = Rows(.float32, Self.rows, width)
    work = Rows(.float32, Self.rows, width)
    let noise = try device.packRandom(rows: [Self.rows], columns: width, seed: 9, scale: 2, type: .float32)
    let places = (0..<Self.rows).map { TokenID($0) }
    device.embed(places.span, table: noise, into: raw.tensor)
    for slot in 0..<Self.rows {
      var task = Sampler.Task(
        slot: slot, result: slot, alternativeCount: params.logprobs ?? 0, wantsLogprobs: params.logprobs != nil)
      task.firstAlternative = result.alternatives.count
      result.samples.append(Sample(sequenceIndex: Int32(slot), token: 0, firstAlternative: 0))
      for _ in 0..<task.alternativeCount { result.alternatives.append(TokenLogprob(token: 0, logprob: 0, rank: 0)) }
      tasks.append(task)
    }
  }

  func run() {
    // The same numbers every time: a slot's position is part of what is drawn.
    for slot in 0..<Self.rows {
      sampler.admit(
        Admission(
          sequence: SequenceID(request: RequestID(rawValue: UInt64(slot)), index: 0), slot: SlotID(slot),
          sampling: SamplingState(params: params, seed: UInt64(slot), badWordTokens: [], terminators: []),
          tokens: [1, 2], promptTokens: 2))
    }
    logits.tensor.float32.update(from: raw.tensor.float32, count: Self.rows * raw.tensor.columns)
    sampler.run(tasks, logits: logits.tensor, work: work.tensor, result: &result)
  }
}
