/// How steps went to data workers, since the start.
struct StepTraffic {
  /// Steps in one, two and three micro-batches.
  private(set) var counts = InlineArray<3, Int>(repeating: 0)
  /// Between handing rows over and having their output, and of that what was waited.
  private(set) var awayNanoseconds: UInt64 = 0
  private(set) var waitedNanoseconds: UInt64 = 0
  /// Running values that went on to another worker.
  var handedBytes = 0

  mutating func begin(_ microBatches: Int) {
    if (1...3).contains(microBatches) { counts[microBatches - 1] += 1 }
  }

  mutating func note(waited: UInt64, of away: UInt64) {
    waitedNanoseconds += waited
    awayNanoseconds += away
  }

  /// The share of the time in which rows were with data workers that this side computed others'.
  var overlapRatio: Double {
    awayNanoseconds == 0 ? 0 : 1 - Double(min(waitedNanoseconds, awayNanoseconds)) / Double(awayNanoseconds)
  }
}
