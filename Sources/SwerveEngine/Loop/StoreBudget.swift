/// How many blocks of the overflow store a step may read: what it brings in the time a step may spend on it.
///
/// Bandwidth is what steps brought that read a lot, in bytes over their whole time: too low where they computed much
/// besides, so the budget errs towards waiting.
package struct StoreBudget: Sendable {
  private let secondsPerStep: Double
  private let blockBytes: Int
  private var readBytes = 0
  /// Bytes a second; nil before anything was read.
  private var bandwidth: Double?

  package init(secondsPerStep: Double, blockBytes: Int) {
    self.secondsPerStep = secondsPerStep
    self.blockBytes = max(blockBytes, 1)
  }

  /// A step has ended in which the store's counter of bytes read became `readBytes`.
  package mutating func record(readBytes total: Int, seconds: Double) {
    let bytes = total - readBytes
    readBytes = total
    guard bytes > 0, seconds > 0 else { return }
    let speed = Double(bytes) / seconds
    // The best of the last steps: one with a long prompt says little about the store.
    bandwidth = max(speed, (bandwidth ?? 0) * 0.95)
  }

  /// nil before anything is known.
  package var blocksPerStep: Int? {
    bandwidth.map { Int(min($0 * secondsPerStep / Double(blockBytes), Double(Int32.max))) }
  }
}
