import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import SwerveScheduling
import SwerveText

/// Something a step does, ready to be done again and again.
struct HotPath {
  var name: String
  /// Builds the operands; the answer does the work once.
  var prepare: () throws -> () throws -> Void

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
      let x = try device.allocate(byteCount: rows * 256 * type.byteCount)
      let y = try device.allocate(byteCount: rows * 512 * 4)
      let input = x.tensor(type, rows: rows, columns: 256)
      let output = y.tensor(.float32, rows: rows, columns: 512)
      let buffers = Held(x, y)
      return {
        withExtendedLifetime(buffers) { device.linear(input, weight, into: output) }
      }
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
    let q = try device.allocate(byteCount: 4 * 8 * 64 * 2)
    let queries = q.tensor(.bfloat16, rows: 4, columns: 8 * 64)
    let buffers = Held(q, try device.allocate(byteCount: 64))
    return {
      withExtendedLifetime(buffers) {
        batch.prepare(sequences: sequences.span, blocks: blocks.span)
        device.attention(q: queries, cache: cache, layer: 0, batch: batch, scale: 0.125, into: queries)
      }
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
      for id in ids { bytes += stream.append(id)?.utf8.count ?? 0 }
      if bytes == 0 { fail("the detokenizer gave no text") }
    }
  }

  /// Two rows of a vocabulary of 32,000, from raw logits to tokens.
  private static func sampler(_ name: String, _ params: SamplingParams) -> HotPath {
    HotPath(name: name) {
      let device = try device()
      let vocabulary = 32_000
      let rows = 2
      let width = Sampler.paddedWidth(vocabulary)
      let sampler = try Sampler(
        vocabularySize: vocabulary, sequences: rows, contextTokens: 64, tileRows: rows, device: device)
      let noise = try device.packRandom(rows: [rows], columns: width, seed: 9, scale: 2, type: .float32)
      let raw = try device.allocate(byteCount: rows * width * 4)
      let tile = try device.allocate(byteCount: rows * width * 4)
      let copy = try device.allocate(byteCount: rows * width * 4)
      let source = raw.tensor(.float32, rows: rows, columns: width)
      let logits = tile.tensor(.float32, rows: rows, columns: width)
      let work = copy.tensor(.float32, rows: rows, columns: width)
      device.embed((0..<rows).map { TokenID($0) }.span, table: noise, into: source)
      let buffers = (Held(raw, tile), Held(copy, try device.allocate(byteCount: 64)))
      var tasks: [Sampler.Task] = []
      var result = StepResult()
      for slot in 0..<rows {
        var task = Sampler.Task(
          slot: slot, result: slot, alternativeCount: params.logprobs ?? 0, wantsLogprobs: params.logprobs != nil)
        task.firstAlternative = result.alternatives.count
        result.samples.append(Sample(sequenceIndex: Int32(slot), token: 0, firstAlternative: 0))
        for _ in 0..<task.alternativeCount { result.alternatives.append(TokenLogprob(token: 0, logprob: 0, rank: 0)) }
        tasks.append(task)
      }
      return {
        withExtendedLifetime(buffers) {
          // The same numbers every time: a slot's position is part of what is drawn.
          for slot in 0..<rows {
            sampler.admit(
              Admission(
                sequence: SequenceID(request: RequestID(rawValue: UInt64(slot)), index: 0), slot: SlotID(slot),
                sampling: SamplingState(params: params, seed: UInt64(slot), badWordTokens: [], terminators: []),
                tokens: [1, 2], promptTokens: 2))
          }
          logits.float32.update(from: source.float32, count: rows * width)
          sampler.run(tasks, logits: logits, work: work, result: &result)
        }
      }
    }
  }
}

/// Keeps two buffers for as long as closures use their memory.
private final class Held {
  private let first: DeviceBuffer
  private let second: DeviceBuffer

  init(_ first: consuming DeviceBuffer, _ second: consuming DeviceBuffer) {
    self.first = first
    self.second = second
  }
}
