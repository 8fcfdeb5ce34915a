import SwerveCore

/// What a rank says of itself when rank 0 asks.
enum RankReport {
  private static let numbers = 6

  static func write(_ rank: RankTraffic.Rank, into words: RankWords) {
    words.removeAll()
    for number in [
      rank.memoryBytes, rank.kvBytes, rank.tensorBytes, rank.stageBytes, rank.dataBytes, rank.exchanges,
    ] {
      words.append(UInt32(truncatingIfNeeded: number))
      words.append(UInt32(truncatingIfNeeded: number >> 32))
    }
  }

  /// nil for anything but a report.
  static func read(_ words: RankWords) -> RankTraffic.Rank? {
    words.beginReading()
    guard words.remaining == 2 * numbers else { return nil }
    func next() -> Int { Int(truncatingIfNeeded: UInt64(words.next()) | UInt64(words.next()) << 32) }
    var rank = RankTraffic.Rank()
    rank.memoryBytes = next()
    rank.kvBytes = next()
    rank.tensorBytes = next()
    rank.stageBytes = next()
    rank.dataBytes = next()
    rank.exchanges = next()
    let all = [rank.memoryBytes, rank.kvBytes, rank.tensorBytes, rank.stageBytes, rank.dataBytes, rank.exchanges]
    return all.allSatisfy { $0 >= 0 } ? rank : nil
  }
}
