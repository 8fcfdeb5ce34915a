import SwerveEngine
import Testing

/// Which data worker is slow, from numbers of steps.
@Suite struct SlowWorkerWatchTests {
  typealias Speed = SlowWorkerWatch.Speed

  /// Noise that is the same in each run, 0.5 … 1.5.
  struct Noise {
    private var state: UInt64 = 7

    mutating func next() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return 0.5 + Double(state >> 40) / Double(1 << 24)
    }
  }

  /// Takes so many steps; answers the verdicts and the steps after which they came.
  private func run(
    _ watch: inout SlowWorkerWatch, _ steps: Int, _ speeds: (Int) -> [Speed?]
  ) -> [(step: Int, verdict: SlowWorkerWatch.Verdict)] {
    var found: [(step: Int, verdict: SlowWorkerWatch.Verdict)] = []
    for step in 1...steps {
      if let verdict = watch.observe(speeds(step)) { found.append((step, verdict)) }
    }
    return found
  }

  @Test(arguments: [2, 3, 8]) func workersThatAreAlikeAreLeftAlone(count: Int) {
    var watch = SlowWorkerWatch(workers: count)
    var noise = Noise()
    let found = run(&watch, 5000) { step in
      // Now and then one of them is interrupted.
      (0..<count).map { worker in
        let pause = (step + 17 * worker) % 23 == 0 ? 0.05 : 0
        return Speed(seconds: 2e-3 * noise.next() + pause, work: 1000 + Double(step % 400))
      }
    }
    #expect(found.isEmpty)
  }

  @Test(arguments: [2, 3, 8]) func theSlowOneIsFoundAfterFiftySteps(count: Int) {
    var watch = SlowWorkerWatch(workers: count)
    var noise = Noise()
    let found = run(&watch, 100 + 50) { step in
      (0..<count).map { worker in
        Speed(seconds: 1e-3 * noise.next() * (worker == 1 && step > 100 ? 20 : 1), work: 1000)
      }
    }
    #expect(found.map(\.step) == [150] && found.map(\.verdict.worker) == [1], "\(found)")
    #expect(found.allSatisfy { $0.verdict.steps == 50 && $0.verdict.seconds > 4 * $0.verdict.usual })
  }

  @Test func oneGoodStepBeginsTheCountAnew() {
    var watch = SlowWorkerWatch(workers: 2)
    let found = run(&watch, 500) { step in
      [Speed(seconds: 2e-3, work: 1000), Speed(seconds: step % 50 == 0 ? 2e-3 : 50e-3, work: 1000)]
    }
    #expect(found.isEmpty)
  }

  @Test func aBusyMachineMakesAllSlowAndNobodyIsReplaced() {
    var several = SlowWorkerWatch(workers: 3)
    var one = SlowWorkerWatch(workers: 1)
    func speed(_ step: Int) -> Speed {
      let load = step > 300 ? 30.0 : 1
      return Speed(seconds: 1e-3 * load, work: 1000, ownSeconds: 5e-3 * load, rows: 8)
    }
    #expect(run(&several, 1000) { step in [speed(step), speed(step), speed(step)] }.isEmpty)
    #expect(run(&one, 380) { [speed($0)] }.isEmpty)
  }

  @Test func aLongPromptIsNoReason() {
    var watch = SlowWorkerWatch(workers: 2)
    // 2,048 rows of a prompt with one, a token at a time with the other; then the other way round.
    let prompt = Speed(seconds: 80e-3, work: 2048 * 20_000, rows: 2048)
    let decode = Speed(seconds: 0.2e-3, work: 300, rows: 1)
    #expect(run(&watch, 400) { step in step <= 200 ? [prompt, decode] : [decode, prompt] }.isEmpty)
    var one = SlowWorkerWatch(workers: 1)
    #expect(run(&one, 2000) { step in [step % 400 < 200 ? decode : prompt] }.isEmpty)
  }

  @Test func aLongContextIsNoReason() {
    var watch = SlowWorkerWatch(workers: 2)
    let found = run(&watch, 1000) { step in
      let tokens = Double(100 + 30 * step)
      return [Speed(seconds: 1e-4 + 5e-7 * tokens, work: tokens), Speed(seconds: 1e-4 + 5e-5, work: 100)]
    }
    #expect(found.isEmpty)
  }

  @Test func aLinkOfSomeMicrosecondsMoreIsNoReason() {
    var watch = SlowWorkerWatch(workers: 2)
    #expect(
      run(&watch, 1000) { _ in [Speed(seconds: 30e-6, work: 1000), Speed(seconds: 900e-6, work: 1000)] }.isEmpty)
  }

  @Test func aloneItIsComparedWithItsPast() {
    var watch = SlowWorkerWatch(workers: 2)
    var noise = Noise()
    func speed(_ factor: Double) -> Speed {
      Speed(seconds: 1e-3 * factor * noise.next(), work: 1000, ownSeconds: 5e-3 * noise.next(), rows: 8)
    }
    #expect(run(&watch, 300) { _ in [nil, speed(1)] }.isEmpty)
    let found = run(&watch, 100) { _ in [nil, speed(30)] }
    #expect(found.first?.step == 50 && found.first?.verdict.worker == 1, "\(found)")
    // Its replacement has no past to be compared with.
    var other = SlowWorkerWatch(workers: 1)
    #expect(run(&other, SlowWorkerWatch.pastSteps) { _ in [speed(1)] }.isEmpty)
    other.forget(0)
    #expect(run(&other, SlowWorkerWatch.pastSteps) { _ in [speed(30)] }.isEmpty)
  }

  @Test func aReplacementThatIsNoCureIsTriedLessOften() {
    var watch = SlowWorkerWatch(workers: 2)
    let slow: [Speed?] = [Speed(seconds: 1e-3, work: 1000), Speed(seconds: 30e-3, work: 1000)]
    #expect(run(&watch, 350) { _ in slow }.map(\.step) == [50, 150, 350])
    let well: [Speed?] = [Speed(seconds: 1e-3, work: 1000), Speed(seconds: 1e-3, work: 1000)]
    #expect(run(&watch, 1000) { _ in well }.isEmpty)
    #expect(run(&watch, 50) { _ in slow }.map(\.step) == [50])
  }

  @Test func stepsWithoutRowsSayNothing() {
    var watch = SlowWorkerWatch(workers: 2)
    let fine = Speed(seconds: 1e-3, work: 1000)
    let found = run(&watch, 200) { step in
      step % 2 == 0 ? [fine, Speed(seconds: 30e-3, work: 1000)] : [fine, nil]
    }
    #expect(found.map(\.step) == [100])
    #expect(watch.observe([nil, nil]) == nil)
  }
}
