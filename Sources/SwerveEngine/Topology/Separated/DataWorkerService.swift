package import SwerveTransfer

/// A data worker that waits for parameter workers of other hosts, one after another: `swerve data-worker --listen`.
package final class DataWorkerService: Sendable {
  /// What this host gives a worker.
  package struct Limits: Sendable {
    /// Threads; nil: as many as it has cores.
    package var threads: Int?
    /// Bytes of keys and values at most; nil: as many as it is asked for.
    package var kvBytes: Int?

    package init(threads: Int? = nil, kvBytes: Int? = nil) {
      self.threads = threads
      self.kvBytes = kvBytes
    }
  }

  private let listener: WorkerListener
  private let version: String
  private let limits: Limits

  /// - Throws: where it may not listen there, or cannot.
  package init(
    _ endpoint: Endpoint, _ protection: LinkProtection, version: String, limits: Limits = .init(),
    onNotice: @escaping @Sendable (String) -> Void, onRefusal: @escaping @Sendable (String) -> Void
  ) throws(TransferError) {
    self.version = version
    self.limits = limits
    listener = try WorkerListener(
      endpoint, protection, version: version, onNotice: onNotice, onRefusal: onRefusal)
  }

  /// Where it listens.
  package var endpoint: Endpoint { listener.endpoint }

  package func close() { listener.close() }

  /// Serves until it is closed.
  package func run() {
    let (version, limits) = (version, limits)
    listener.run { link in
      _ = DataWorkerMain.run(control: link.control, version: version, limits: limits) { greeting throws in
        let (incoming, outgoing) = try StreamChannel.ends(
          link.socket, at: .data, capacity: Int(greeting.capacity),
          StreamChannel.Settings(
            peer: DataWorker.peer, deadline: greeting.deadline, key: link.key, watch: link.control))
        return (incoming, outgoing)
      }
    }
  }
}
