/// Messages from one rank to another, in order, each delivered once: whatever ranks tell each other goes through two of
/// these, one a direction. One thread sends and one receives.
///
/// The sender writes in memory of the channel (`reserve`) and hands it over (`send`); the receiver reads there
/// (`receive`) and gives it back (`release`). Over shared memory nothing is copied in between.
///
/// Every call may wait for the other side, no longer than the channel's deadline; then, or when the other side is gone, it
/// throws `ChannelError`, and so does every later call.
package protocol Channel: AnyObject {
  /// Bytes of the longest message.
  var capacity: Int { get }
  /// Room for the next message, 64-byte aligned, until it is sent. Waits until the receiver has given back enough.
  func reserve(_ byteCount: Int) throws(ChannelError) -> UnsafeMutableRawBufferPointer
  /// Hands over the first bytes of what was reserved.
  func send(_ byteCount: Int) throws(ChannelError)
  /// The next message, valid until `release`. Waits for it.
  func receive() throws(ChannelError) -> UnsafeRawBufferPointer
  /// Gives the received message's memory back.
  func release() throws(ChannelError)
}

/// Why ranks do not hear from each other.
package enum ChannelError: Error, Hashable, CustomStringConvertible {
  /// Nothing came within so many seconds.
  case timedOut(peer: String, seconds: Double)
  /// The other side ended.
  case closed(peer: String)
  /// A message that does not fit.
  case tooLong(peer: String, byteCount: Int, capacity: Int)
  /// A message that is not what the protocol says at this point.
  case malformed(peer: String, reason: String)

  package var description: String {
    switch self {
    case .timedOut(let peer, let seconds):
      "\(peer) did not answer within \(seconds) s; look at its log, or whether its host is reachable"
    case .closed(let peer): "\(peer) has ended; look at its log for the reason"
    case .tooLong(let peer, let byteCount, let capacity):
      "a message of \(byteCount) bytes for \(peer) is longer than its channel of \(capacity)"
    case .malformed(let peer, let reason): "what \(peer) sent cannot be understood: \(reason)"
    }
  }
}
