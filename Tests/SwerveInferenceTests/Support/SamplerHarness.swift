import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

/// A sampler over rows of logits that a test makes up.
final class SamplerHarness {
  let vocabularySize: Int
  let sampler: Sampler
  private let device: CPUDevice
  private let tile: DeviceBuffer
  private let work: DeviceBuffer
  private let tileRows: Int

  init(vocabularySize: Int, sequences: Int = 16, threads: Int = 1, kernels: KernelSet? = nil) throws {
    self.vocabularySize = vocabularySize
    tileRows = sequences
    device = try CPUDevice(
      configuration: CPUConfiguration(threadCount: threads, isPinned: false, kernels: kernels, spinMicroseconds: 0))
    sampler = try Sampler(
      vocabularySize: vocabularySize, sequences: sequences, contextTokens: 4096, tileRows: sequences, device: device)
    let bytes = sequences * Sampler.paddedWidth(vocabularySize) * 4
    tile = try device.allocate(byteCount: bytes)
    work = try device.allocate(byteCount: bytes)
  }

  func admit(
    _ slot: Int, _ params: SamplingParams, prompt: [TokenID] = [1], generated: [TokenID] = [], seed: UInt64 = 0,
    index: Int32 = 0, badWords: [[TokenID]] = [], terminators: [TokenID] = []
  ) {
    sampler.admit(
      Admission(
        sequence: SequenceID(request: RequestID(rawValue: 1), index: index), slot: SlotID(slot),
        sampling: SamplingState(params: params, seed: seed, badWordTokens: badWords, terminators: terminators),
        tokens: prompt + generated, promptTokens: prompt.count))
  }

  /// Row i belongs to slot `slots[i]`.
  func sample(_ rows: [[Float]], slots: [Int]) -> StepResult {
    let width = Sampler.paddedWidth(vocabularySize)
    let logits = tile.tensor(.float32, rows: rows.count, columns: width)
    var result = StepResult()
    var tasks: [Sampler.Task] = []
    for (index, row) in rows.enumerated() {
      (logits.float32 + index * width).update(repeating: -.infinity, count: width)
      for (token, value) in row.enumerated() { (logits.float32 + index * width)[token] = value }
      guard let state = sampler.slots[slots[index]] else { continue }
      var task = Sampler.Task(
        slot: slots[index], result: index, alternativeCount: sampler.alternatives(state, isPrompt: false),
        wantsLogprobs: state.sampling.params.logprobs != nil)
      task.firstAlternative = result.alternatives.count
      result.samples.append(
        Sample(sequenceIndex: Int32(index), token: 0, firstAlternative: Int32(task.firstAlternative)))
      for _ in 0..<task.alternativeCount { result.alternatives.append(TokenLogprob(token: 0, logprob: 0, rank: 0)) }
      tasks.append(task)
    }
    sampler.run(
      tasks, logits: logits, work: work.tensor(.float32, rows: rows.count, columns: width), result: &result)
    return result
  }

  /// One token for one row.
  func token(
    _ row: [Float], _ params: SamplingParams, seed: UInt64 = 0, index: Int32 = 0, prompt: [TokenID] = [1],
    generated: [TokenID] = [], badWords: [[TokenID]] = [], terminators: [TokenID] = []
  ) -> TokenID {
    admit(
      0, params, prompt: prompt, generated: generated, seed: seed, index: index, badWords: badWords,
      terminators: terminators)
    return sample([row], slots: [0]).samples[0].token
  }
}

/// The sampler's rules in the plainest words, over whole sorted arrays, in double precision.
enum NaiveSampler {
  /// (token, probability) of every token that may be drawn, most likely first, lower token first among equals.
  static func distribution(_ row: [Float], _ params: SamplingParams) -> [(token: Int, probability: Double)] {
    let temperature = Double(max(params.temperature, 0.01))
    let order = row.indices.filter { row[$0] > -.infinity }.sorted { (-row[$0], $0) < (-row[$1], $1) }
    guard let first = order.first else { return [] }
    let weights = order.map { exponential((Double(row[$0]) - Double(row[first])) / temperature) }
    var kept = zip(order, weights).map { (token: $0, probability: $1) }
    kept = kept.filter { $0.probability >= Double(params.minP) }
    if params.topK > 0 { kept = Array(kept.prefix(params.topK)) }
    let total = kept.reduce(0) { $0 + $1.probability }
    if params.topP < 1 {
      var sum = 0.0
      let count = kept.firstIndex { entry in
        sum += entry.probability
        return sum >= Double(params.topP) * total
      }
      kept = Array(kept.prefix((count ?? kept.count - 1) + 1))
    }
    let left = kept.reduce(0) { $0 + $1.probability }
    return kept.map { ($0.token, $0.probability / left) }
  }
}
