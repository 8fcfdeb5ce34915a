package import SwerveCore
package import SwerveHardware
import SwerveInference

/// What sampling adds to a decode step: the output head with the sampler, less the head alone. The head's inputs are few,
/// so that its own time does not hide the difference; logits are noise of unit variance.
package struct SamplerBenchmark {
  /// One way of sampling.
  package struct Line: Sendable {
    package var name: String
    package var rows: Int
    /// Beside the head's product; the median of differences, which noise can make negative.
    package var seconds: Double
  }

  package let device: CPUDevice
  package let vocabularySize: Int
  /// Least seconds a measurement runs.
  package var seconds = 0.3
  /// Seconds since some instant.
  package var now: () -> Double

  package init(device: CPUDevice, vocabularySize: Int) {
    self.device = device
    self.vocabularySize = vocabularySize
    let clock = ContinuousClock()
    let start = clock.now
    now = { (clock.now - start) / .seconds(1) }
  }

  /// Ways of sampling, by the name of their line. A nucleus of noise is most of the vocabulary: its worst case.
  package static let ways: [(name: String, params: SamplingParams)] = [
    ("greedy", SamplingParams(temperature: 0)),
    ("temperature", SamplingParams(temperature: 1)),
    ("top-p 0.9", SamplingParams(temperature: 0.8, topP: 0.9)),
    ("top-p 0.9, peaked", SamplingParams(temperature: 0.1, topP: 0.9)),
    ("top-k 50", SamplingParams(temperature: 0.8, topK: 50)),
    ("min-p 0.05", SamplingParams(temperature: 0.8, minP: 0.05)),
    ("greedy, penalty 1.1", penalised),
    ("greedy, 5 logprobs", SamplingParams(temperature: 0, logprobs: 5)),
  ]

  private static var penalised: SamplingParams {
    var params = SamplingParams(temperature: 0)
    params.repetitionPenalty = 1.1
    return params
  }

  /// - Throws: `HardwareError` for memory: the head's weights and two tiles of logits.
  package func run(rows: Int, progress: (Line) -> Void = { _ in }) throws -> [Line] {
    let vocabulary = vocabularySize
    let hidden = 128
    let head = try device.packRandom(
      rows: [vocabulary], columns: hidden, seed: 1, scale: 1 / Float(hidden).squareRoot(), type: .bfloat16)
    let input = try device.packRandom(rows: [rows], columns: hidden, seed: 2, scale: 1, type: .bfloat16)
    // Packed noise read as rows is noise as well.
    let x = try device.allocate(byteCount: rows * hidden * 2)
    let residual = try device.allocate(byteCount: rows * hidden * 4)
    let wide = residual.tensor(.float32, rows: rows, columns: hidden)
    let indices = (0..<rows).map { TokenID($0) }
    device.embed(indices.span, table: input, into: wide)
    let normed = x.tensor(.bfloat16, rows: rows, columns: hidden)
    device.convert(wide, into: normed)
    let width = Sampler.paddedWidth(vocabulary)
    let tile = try device.allocate(byteCount: rows * width * 4)
    let copy = try device.allocate(byteCount: rows * width * 4)
    let logits = tile.tensor(.float32, rows: rows, columns: width)
    let work = copy.tensor(.float32, rows: rows, columns: width)
    let sampler = try Sampler(
      vocabularySize: vocabulary, sequences: rows, contextTokens: 4096, tileRows: rows, device: device)
    var lines: [Line] = []
    for way in Self.ways {
      for slot in 0..<rows { sampler.admit(admission(slot, way.params)) }
      let logprobs = way.params.logprobs
      var tasks: [Sampler.Task] = []
      var result = StepResult()
      for slot in 0..<rows {
        var task = Sampler.Task(
          slot: slot, result: slot, alternativeCount: logprobs ?? 0, wantsLogprobs: logprobs != nil)
        task.firstAlternative = result.alternatives.count
        result.samples.append(Sample(sequenceIndex: Int32(slot), token: 0, firstAlternative: 0))
        for _ in 0..<task.alternativeCount { result.alternatives.append(TokenLogprob(token: 0, logprob: 0, rank: 0)) }
        tasks.append(task)
      }
      let narrow = logits.columns(0..<vocabulary)
      let measured = difference(
        {
          let request = sampler.prepare(tasks)
          device.head(
            normed, head, into: narrow, keepsLogits: request.keepsLogits, requests: request.requests,
            statistics: request.statistics)
          sampler.choose(tasks, logits: logits, work: work, result: &result)
        }, { device.linear(normed, head, into: narrow) })
      let line = Line(name: way.name, rows: rows, seconds: measured)
      lines.append(line)
      progress(line)
    }
    return lines
  }

  private func admission(_ slot: Int, _ params: SamplingParams) -> Admission {
    Admission(
      sequence: SequenceID(request: RequestID(rawValue: UInt64(slot)), index: 0), slot: SlotID(slot),
      sampling: SamplingState(params: params, seed: UInt64(slot), badWordTokens: [], terminators: []),
      tokens: (0..<512).map { TokenID($0 * 97 % vocabularySize) }, promptTokens: 256)
  }

  /// Seconds that the first call takes longer than the second, made in turns: the median of the differences.
  private func difference(_ first: () -> Void, _ second: () -> Void) -> Double {
    let start = now()
    var samples: [Double] = []
    first()
    second()
    repeat {
      let begin = now()
      first()
      let middle = now()
      second()
      samples.append((middle - begin) - (now() - middle))
    } while samples.count < 8 || now() - start < seconds
    samples.sort()
    return samples[samples.count / 2]
  }
}
