import SwerveCore
import SwerveScheduling
import SwerveTiers
import SwerveTransfer

/// A sequence's blocks on their way to the device: a window of positions that are in host memory, or coming there. Those
/// taken from its front are the device's by now.
struct TierReading {
  struct Entry {
    enum State {
      /// In the host, pinned for this read.
      case ready
      /// Coming from a file by our transfer, which pins it.
      case fetching(TransferID)
      /// Coming by another read's transfer.
      case elsewhere
      /// Coming from another engine.
      case coming
    }
    var identity: BlockIdentity
    /// Where it is in the host; nil for what comes from another engine, which has places of its own.
    var slot: HostSlot?
    var external: IncomingBlocks?
    var state: State
    var source: TierStatistics.Source
    /// When it was asked for; how long it took once it is ready.
    var seconds: Double
    var isLossy = false
  }

  let order: ReadOrder
  /// The request's blocks that another engine computed.
  var external: IncomingBlocks?
  let scope: BlockScope
  /// Digest of the block before the window.
  let parent: Digest?
  var window: [Entry] = []
  /// Leading entries that were loaded or given up: they hold nothing.
  var taken = 0
  /// Leading entries that are, or were, ready.
  var readyCount = 0
  var end: Int?
  /// Whether the window cannot grow now.
  var isBlocked = false
  var isChanged = true
  let asked: Double
  var hasArrived = false

  var id: UInt64 { order.id }
  /// Position of the window's first entry.
  var base: Int { order.first }
  var next: Int { base + window.count }
  var lastDigest: Digest? { window.last?.identity.digest ?? parent }

  /// The identity of the position behind the window.
  func nextIdentity(blockTokens: Int) -> BlockIdentity {
    let first = next * blockTokens
    return BlockIdentity(
      scope: scope, parent: lastDigest, tokens: Array(order.tokens[first..<(first + blockTokens)]))
  }

  var report: ReadReport {
    let lossy = window[taken..<readyCount].firstIndex { $0.isLossy }
    return ReadReport(
      id: id, sequence: order.sequence, ready: base + readyCount, end: end, lossyFrom: lossy.map { base + $0 },
      isStalled: isBlocked && readyCount == window.count)
  }

  mutating func countReady() {
    let before = readyCount
    while readyCount < window.count, case .ready = window[readyCount].state { readyCount += 1 }
    if readyCount != before { isChanged = true }
  }
}
