internal import SwerveCore
internal import Synchronization

/// What transfers came to, counted by their threads.
final class BlockTraffic: Sendable {
  private let counters = Mutex(TransferStatistics())

  var statistics: TransferStatistics { counters.withLock { $0 } }

  func count(_ body: (inout TransferStatistics) -> Void) { counters.withLock { body(&$0) } }

  func sent(_ bytes: Int, seconds: Double) {
    count {
      $0.sent += 1
      $0.sentBytes += bytes
      $0.sendSeconds.add(seconds)
    }
  }

  func received(_ bytes: Int, seconds: Double) {
    count {
      $0.received += 1
      $0.receivedBytes += bytes
      $0.receiveSeconds.add(seconds)
    }
  }

  func failed(_ reason: TransferFailure, bytesSent: Int = 0, bytesReceived: Int = 0) {
    count {
      $0.failures[reason.rawValue, default: 0] += 1
      $0.sentBytes += bytesSent
      $0.receivedBytes += bytesReceived
    }
  }
}

/// Why a transfer failed, as metrics say it.
package enum TransferFailure: String, Sendable, CaseIterable {
  /// Nobody answers at the address, or the network refuses.
  case unreachable
  /// The other engine is not one of the same model, type and version, or has another key.
  case refused
  /// No room on either side.
  case full
  /// A message that was changed on its way, or made no sense.
  case damaged
  /// The other side ended, or was silent for too long.
  case lost
  /// Nobody knows the transfer, or it is of other tokens.
  case unknown
  /// The request ended before its blocks were computed.
  case aborted
}

extension TransferFailure {
  init(_ error: TransferError) {
    switch error {
    case .system, .unreachable: self = .unreachable
    case .malformed: self = .damaged
    case .refused: self = .refused
    case .timedOut, .closed: self = .lost
    }
  }
}
