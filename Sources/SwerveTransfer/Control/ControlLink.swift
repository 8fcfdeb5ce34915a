/// Whole messages between a worker and whoever it works for: the handshake and the end, nothing of a step. Also how
/// either side learns that the other is gone (`hasEnded`).
package protocol ControlLink: PeerWatch {
  func send(_ bytes: [UInt8]) throws(TransferError)

  /// The next message; nil when none comes within so many seconds.
  ///
  /// - Throws: `.closed` when none will come.
  func receive(within seconds: Double, from peer: String) throws(TransferError) -> [UInt8]?

  /// Why the other side is gone, where more is known than that it is: words behind its name.
  var endReason: String? { get }

  /// Ends it; the other side sees that.
  func close()
}

extension ControlSocket: ControlLink {
  package var endReason: String? { nil }

  /// The socket closes with its owner: a process of this host is ended by its number, not by this.
  package func close() {}
}
