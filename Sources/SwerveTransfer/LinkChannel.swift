package import SwerveCore

/// A channel between a parameter and a data worker, over whatever lies between them: either side may close it, and its
/// receiver may look for a message without giving the channel up.
package protocol LinkChannel: Channel {
  /// Tells the other side that nothing more comes. May be called twice.
  func close()

  /// Whether a message is there, or comes within so many seconds; throws only when none will come.
  func hasMessage(within seconds: Double) throws(ChannelError) -> Bool
}

extension SharedChannel: LinkChannel {}
