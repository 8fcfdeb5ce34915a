internal import CSwervePlatform

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Why a link or a worker's process cannot be had.
package enum TransferError: Error, Hashable, CustomStringConvertible {
  /// What the system refused, and errno's number.
  case system(String, code: Int32)
  /// The other side sent something that is not what the protocol says.
  case malformed(String)
  /// The other side is not the worker it has to be.
  case refused(String)
  /// The other side did not answer in time.
  case timedOut(String, seconds: Double)
  /// The other side ended.
  case closed(String)
  /// Nobody of another host is to be had at this address, and errno's number.
  case unreachable(String, code: Int32)

  package var description: String {
    switch self {
    case .unreachable(let endpoint, let code): Self.unreachable(endpoint, code)
    case .system(let what, let code):
      "the system refuses to \(what) (\(String(cString: strerror(code)))); free some memory or descriptors"
    case .malformed(let sentence), .refused(let sentence): sentence
    case .timedOut(let peer, let seconds):
      "\(peer) did not answer within \(seconds) s; look at the log for why it does not start, or whether it is stopped"
    case .closed(let peer): "\(peer) ended before it was ready; look at the log for its reason"
    }
  }

  /// Whether it is about a name without an address.
  package var isUnknownHost: Bool {
    if case .unreachable(_, let code) = self { code == Int32(SWERVE_NO_SUCH_HOST) } else { false }
  }

  private static func unreachable(_ endpoint: String, _ code: Int32) -> String {
    if code == Int32(SWERVE_NO_SUCH_HOST) {
      return "there is no host for \(endpoint); check its name, or give its address"
    }
    if code == ECONNREFUSED {
      return "nobody listens at \(endpoint); start swerve data-worker --listen there, or check the port"
    }
    return
      "\(endpoint) cannot be reached (\(String(cString: strerror(code)))); check its host, the address and firewalls"
  }
}
