import SwerveTiers
import Testing

@Suite struct SpillPacerTests {
  @Test func withoutFetchesSpillsAreNotSlowed() {
    var pacer = SpillPacer(share: 0.1, bytesPerSecond: nil)
    pacer.spilled(bytes: 1000, began: 10, now: 11)
    #expect(pacer.earliestSpill(now: 11) <= 11)
  }

  @Test func whileThereAreFetchesSpillsGetTheirShareOfTheTime() {
    var pacer = SpillPacer(share: 0.1, bytesPerSecond: nil)
    var now = 0.0
    var busy = 0.0
    while now < 100 {
      pacer.fetched(now: now)
      if pacer.earliestSpill(now: now) <= now {
        pacer.spilled(bytes: 1, began: now, now: now + 0.02)
        busy += 0.02
        now += 0.02
      } else {
        now += 0.001
      }
    }
    #expect(busy > 9 && busy < 10.5)
  }

  @Test func thePauseEndsWhenTheFetchesAreForgotten() {
    var pacer = SpillPacer(share: 0.01, bytesPerSecond: nil, memory: 1)
    pacer.fetched(now: 0)
    pacer.spilled(bytes: 1, began: 0, now: 0.5)
    #expect(pacer.earliestSpill(now: 0.5) == 1)
    #expect(pacer.earliestSpill(now: 1) <= 1)
  }

  @Test func theCapHoldsInEitherCase() {
    var pacer = SpillPacer(share: 1, bytesPerSecond: 1000)
    pacer.spilled(bytes: 500, began: 0, now: 0.1)
    #expect(pacer.earliestSpill(now: 0.1) == 0.5)
    pacer.spilled(bytes: 500, began: 0.5, now: 0.6)
    #expect(pacer.earliestSpill(now: 0.6) == 1)
    // Time without spills is not saved up.
    pacer.spilled(bytes: 500, began: 9, now: 9.1)
    #expect(pacer.earliestSpill(now: 9.1) == 9.5)
  }

  @Test func bandwidthIsAnExponentialAverage() {
    var bandwidth = Bandwidth(weight: 0.5)
    #expect(bandwidth.bytesPerSecond == nil)
    bandwidth.add(bytes: 100, seconds: 1)
    bandwidth.add(bytes: 300, seconds: 1)
    #expect(bandwidth.bytesPerSecond == 200)
    bandwidth.add(bytes: 0, seconds: 1)
    bandwidth.add(bytes: 1, seconds: 0)
    #expect(bandwidth.bytesPerSecond == 200)
  }
}
