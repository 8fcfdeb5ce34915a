/// Finds the data worker that answers, but much more slowly than it should: numbers of steps in, a verdict out.
///
/// Of each step it hears each worker's slowest layer, which is the 99th of a hundred. A worker is slow in a step when that
/// is more than four times what is usual, and more than four times what is usual for as much work (so that who
/// has the long contexts is not taken for slow), and a millisecond more (so that a link of some
/// microseconds more is not). Usual is the median of the other workers with rows in the step; where there is none, of the
/// worker's own past, unless the parameter worker's own part of the step takes longer too: then it is the machine that is
/// busy. A worker that is slow in fifty steps one after the other is to be replaced.
///
/// A replacement that is found slow again was not the cure: each time it takes twice as many steps, until the worker was well
/// for a thousand.
package struct SlowWorkerWatch: Sendable {
  /// A worker's part of a step.
  package struct Speed: Sendable, Hashable {
    /// Of its slowest layer, from being asked to having answered.
    package var seconds: Double
    /// Tokens that its rows see, in all.
    package var work: Double
    /// What the parameter worker took between answers and the questions behind them.
    package var ownSeconds: Double
    package var rows: Double

    package init(seconds: Double, work: Double, ownSeconds: Double = 0, rows: Double = 1) {
      self.seconds = seconds
      self.work = work
      self.ownSeconds = ownSeconds
      self.rows = rows
    }
  }

  package struct Verdict: Sendable, Hashable {
    package var worker: Int
    /// Of the last step, and what would have been usual.
    package var seconds: Double
    package var usual: Double
    /// Steps in a row.
    package var steps: Int
  }

  package static let factor = 4.0
  package static let steps = 50
  package static let leastExcess = 1e-3
  /// Steps that a past has to have.
  package static let pastSteps = 100
  private static let mostSteps = 3200
  private static let calmSteps = 1000

  /// Something's median so far: moved by half a percent towards each value.
  private struct Median {
    private(set) var value = 0.0

    mutating func add(_ new: Double) {
      if value <= 0 { value = new } else { value *= new > value ? 1.005 : 1 / 1.005 }
    }
  }

  /// What is known of a worker.
  private struct Record {
    var seconds = Median()
    var perWork = Median()
    var ownSeconds = Median()
    var ownPerRow = Median()
    var count = 0
    /// Steps in which it was slow, one after the other; and steps in which it was not.
    var streak = 0
    var calm = 0
    var patience = SlowWorkerWatch.steps

    mutating func forget() {
      let kept = patience
      self = Record()
      patience = kept
    }
  }

  private enum Finding {
    case well
    case slow(usual: Double)
    /// It is not known.
    case unclear
  }

  /// [workers]
  private var records: [Record]
  /// The others' numbers of the step; storage is kept.
  private var others: [Double] = []

  package init(workers: Int) {
    records = [Record](repeating: Record(), count: workers)
    others.reserveCapacity(workers)
  }

  /// A worker is another one now: what was known of it is not true any more.
  package mutating func forget(_ worker: Int) { records[worker].forget() }

  /// Takes a step.
  ///
  /// - Parameter speeds: [workers] nil: it had no rows.
  /// - Returns: a worker that is to be replaced; it is forgotten.
  package mutating func observe(_ speeds: [Speed?]) -> Verdict? {
    var verdict: Verdict?
    for worker in speeds.indices {
      guard let speed = speeds[worker], speed.seconds > 0, speed.work > 0 else { continue }
      let finding = find(worker, speed, speeds)
      learn(worker, speed)
      switch finding {
      case .unclear: continue
      case .well:
        records[worker].streak = 0
        records[worker].calm += 1
        if records[worker].calm >= Self.calmSteps { records[worker].patience = Self.steps }
      case .slow(let usual):
        records[worker].calm = 0
        records[worker].streak += 1
        let streak = records[worker].streak
        guard verdict == nil, streak >= records[worker].patience else { continue }
        verdict = Verdict(worker: worker, seconds: speed.seconds, usual: usual, steps: streak)
      }
    }
    if let worker = verdict?.worker {
      records[worker].forget()
      records[worker].patience = min(2 * records[worker].patience, Self.mostSteps)
    }
    return verdict
  }

  private mutating func find(_ worker: Int, _ speed: Speed, _ speeds: [Speed?]) -> Finding {
    let perWork = speed.seconds / speed.work
    if let usual = median(of: speeds, besides: worker, { $0.seconds }),
      let usualPerWork = median(of: speeds, besides: worker, { $0.seconds / $0.work })
    {
      return isSlow(speed.seconds, usual, perWork, usualPerWork) ? .slow(usual: usual) : .well
    }
    let past = records[worker]
    if past.count < Self.pastSteps { return .unclear }
    guard isSlow(speed.seconds, past.seconds.value, perWork, past.perWork.value) else { return .well }
    let isBusy =
      speed.ownSeconds > 2 * past.ownSeconds.value && speed.ownSeconds / speed.rows > 2 * past.ownPerRow.value
    return isBusy ? .unclear : .slow(usual: past.seconds.value)
  }

  private func isSlow(_ seconds: Double, _ usual: Double, _ perWork: Double, _ usualPerWork: Double) -> Bool {
    seconds > Self.factor * usual && perWork > Self.factor * usualPerWork && seconds - usual > Self.leastExcess
  }

  private mutating func learn(_ worker: Int, _ speed: Speed) {
    records[worker].count += 1
    records[worker].seconds.add(speed.seconds)
    records[worker].perWork.add(speed.seconds / speed.work)
    records[worker].ownSeconds.add(speed.ownSeconds)
    records[worker].ownPerRow.add(speed.ownSeconds / speed.rows)
  }

  /// Of the other workers with rows in the step, the upper one of two; nil: there is none.
  private mutating func median(
    of speeds: [Speed?], besides worker: Int, _ number: (Speed) -> Double
  ) -> Double? {
    others.removeAll(keepingCapacity: true)
    for other in speeds.indices where other != worker {
      guard let speed = speeds[other], speed.seconds > 0, speed.work > 0 else { continue }
      others.append(number(speed))
    }
    if others.isEmpty { return nil }
    others.sort()
    return others[others.count / 2]
  }
}
