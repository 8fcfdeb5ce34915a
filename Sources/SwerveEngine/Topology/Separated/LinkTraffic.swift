import SwerveTransfer

/// What went over a link, and where the time went: writing and ringing, waiting, reading.
struct LinkTraffic {
  private(set) var sentBytes = 0
  private(set) var receivedBytes = 0
  private(set) var postNanoseconds: UInt64 = 0
  /// Between the parameter worker's question and the answer.
  private(set) var waitNanoseconds: UInt64 = 0
  var doneNanoseconds: UInt64 = 0
  /// What the data worker computed between question and answer, waited for or not.
  private(set) var busyNanoseconds: UInt64 = 0
  private(set) var exchanges = 0
  var refusals = 0
  /// [buckets] exchanges by what they took beyond the data worker's computing: bucket i up to 2^(i/2) µs.
  private var delays = InlineArray<32, UInt32>(repeating: 0)

  mutating func post(bytes: Int, since begin: UInt64) {
    sentBytes += bytes
    postNanoseconds += TransferClock.now - begin
  }

  mutating func wait(bytes: Int, busy: UInt64, since begin: UInt64, posted: UInt64) {
    let now = TransferClock.now
    let waited = now - begin
    receivedBytes += bytes
    waitNanoseconds += waited
    busyNanoseconds += min(busy, now - posted)
    exchanges += 1
    let micros = Double(waited - min(busy, waited)) / 1000
    var bucket = 0
    var bound = 1.0
    while bucket < 31 && micros > bound {
      bound *= 1.414_213_562
      bucket += 1
    }
    delays[bucket] &+= 1
  }

  /// The upper end of the bucket that this share of all exchanges lies below. Seconds; 0 without exchanges.
  func delay(_ share: Double) -> Double {
    var total: UInt64 = 0
    for bucket in 0..<32 { total += UInt64(delays[bucket]) }
    if total == 0 { return 0 }
    var seen: UInt64 = 0
    var bound = 1e-6
    for bucket in 0..<32 {
      seen += UInt64(delays[bucket])
      if Double(seen) >= share * Double(total) { return bound }
      bound *= 1.414_213_562
    }
    return bound
  }
}
