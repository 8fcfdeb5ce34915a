import SwerveHardware
import Testing

@Suite struct BusyWatchTests {
  @Test func `others have what is used beyond this process`() {
    let begin = BusyWatch.Sample(all: 100, own: 10, possible: 1000)
    #expect(BusyWatch.othersShare(from: begin, to: .init(all: 104, own: 12, possible: 1004)) == 0.5)
    #expect(BusyWatch.othersShare(from: begin, to: .init(all: 104, own: 14, possible: 1004)) == 0)
    // Clocks of different grain may say that this process used more than all.
    #expect(BusyWatch.othersShare(from: begin, to: .init(all: 103, own: 14, possible: 1004)) == 0)
    #expect(BusyWatch.othersShare(from: begin, to: .init(all: 200, own: 10, possible: 1004)) == 1)
    #expect(BusyWatch.othersShare(from: begin, to: begin) == nil)
  }

  @Test func `a look at this machine gives a share`() {
    let watch = BusyWatch()
    var sum = 0.0
    for number in 0..<2_000_000 { sum += Double(number) }
    #expect(sum > 0)
    #if os(Linux)
      #expect(watch.othersShare.map { (0...1).contains($0) } == true)
    #endif
  }
}
