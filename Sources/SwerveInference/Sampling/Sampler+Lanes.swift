import SwerveCore
import SwerveHardware

/// A tile's rows on all threads of the device, and the memory each of them has.
extension Sampler {
  func candidates(_ lane: Int) -> Candidates {
    Candidates(
      memory: laneMemory.pointer + lane * laneBytes + Rejection.byteCount(pieces: Self.pieces(vocabularySize)),
      vocabularySize: vocabularySize)
  }

  func rejection(_ lane: Int) -> Rejection {
    Rejection(memory: laneMemory.pointer + lane * laneBytes, pieces: Self.pieces(vocabularySize))
  }

  /// [vocabulary]
  func floats(_ lane: Int) -> UnsafeMutableBufferPointer<Float> {
    let start =
      laneMemory.pointer + lane * laneBytes + Rejection.byteCount(pieces: Self.pieces(vocabularySize))
      + Candidates.byteCount(vocabularySize: vocabularySize)
    return UnsafeMutableBufferPointer(
      start: start.bindMemory(to: Float.self, capacity: vocabularySize), count: vocabularySize)
  }

  /// A pass over the rows of a tile, handed through the pool as a pointer: what it is and what it works on. It outlives
  /// the call because `runLanes` waits for all lanes. No closure: one would be allocated.
  private struct LaneJob {
    var sampler: Unmanaged<Sampler>
    var tasks: UnsafeBufferPointer<Task>
    var tokens: UnsafeBufferPointer<TokenID>
    var lanes: Int
    var logits: Tensor
    var work: Tensor
    var output: Output
  }

  /// Runs a pass over every row; lane i takes rows i, i + lanes, … so that each lane owns its scratch.
  func runLanes(_ tasks: [Task], _ tokens: [TokenID], logits: Tensor, work: Tensor, output: Output) {
    tasks.withUnsafeBufferPointer { tasks in
      tokens.withUnsafeBufferPointer { tokens in
        let lanes = min(laneCount, tasks.count)
        var job = LaneJob(
          sampler: .passUnretained(self), tasks: tasks, tokens: tokens, lanes: lanes, logits: logits, work: work,
          output: output)
        withUnsafePointer(to: &job) { pointer in
          device.runLanes(lanes, job: UnsafeRawPointer(pointer)) { context, begin, end, _ in
            guard let holder = context?.assumingMemoryBound(to: UnsafeRawPointer.self).pointee else { return }
            let job = holder.assumingMemoryBound(to: LaneJob.self).pointee
            for lane in begin..<end { job.sampler.takeUnretainedValue().run(job, lane: lane) }
          }
        }
      }
    }
  }

  private func run(_ job: borrowing LaneJob, lane: Int) {
    for row in stride(from: lane, to: job.tasks.count, by: job.lanes) {
      let task = job.tasks[row]
      let drafted = DraftedTokens(rebasing: job.tokens[task.drafted])
      finish(task, drafted, row: row, logits: job.logits, work: job.work, lane: lane, output: job.output)
    }
  }
}
