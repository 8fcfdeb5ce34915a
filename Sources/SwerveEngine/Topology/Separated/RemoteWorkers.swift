import SwerveCore
import SwerveTransfer
import Synchronization

/// Data workers that wait on other hosts. Each attempt connects on a thread of its own: the engine never waits for the
/// network.
struct RemoteWorkers: DataWorkerSource {
  let endpoint: Endpoint
  let protection: LinkProtection
  /// Drawn at the engine's start; epochs count within it.
  let group: UInt64
  /// Seconds to be reached within.
  let patience: Double

  func begin(_ greeting: WorkerGreeting) throws -> any DataWorkerArrival {
    let attempt = Attempt(greeting, endpoint)
    // Names are looked up on that thread too.
    startThread("swerve-connect") { [self] in
      do throws(TransferError) {
        let link = try RemoteLink.connect(
          to: endpoint, protection, version: greeting.version, group: group, worker: greeting.worker,
          epoch: greeting.epoch, within: patience)
        attempt.finish(.success((link, endpoint.isLoopback)))
      } catch {
        attempt.finish(.failure(error))
      }
    }
    return attempt
  }

  private final class Attempt: DataWorkerArrival, Sendable {
    typealias Found = (link: RemoteLink, isHere: Bool)
    private let greeting: WorkerGreeting
    private let endpoint: Endpoint
    private let result = Mutex<Result<Found, TransferError>?>(nil)

    init(_ greeting: WorkerGreeting, _ endpoint: Endpoint) {
      self.greeting = greeting
      self.endpoint = endpoint
    }

    func finish(_ result: Result<Found, TransferError>) { self.result.withLock { $0 = result } }

    func take(within seconds: Double) throws -> DataWorkerConnection? {
      let end = TransferClock.now + UInt64(max(seconds, 0) * 1e9)
      while true {
        if let result = result.withLock({ $0 }) {
          return try connection(try result.get())
        }
        if TransferClock.now >= end { return nil }
        TransferClock.nap(microseconds: 1000)
      }
    }

    private func connection(_ found: Found) throws -> DataWorkerConnection {
      var greeting = greeting
      // Its cores are its own, except where this is the same machine.
      if !found.isHere { greeting.sharesCores = false }
      let link = found.link
      let (incoming, outgoing) = try StreamChannel.ends(
        link.socket, at: .parameter, capacity: Int(greeting.capacity),
        StreamChannel.Settings(
          peer: "data worker d\(greeting.worker) at \(endpoint)", deadline: greeting.deadline, key: link.key,
          watch: link.control))
      return DataWorkerConnection(
        control: link.control, outgoing: outgoing, incoming: incoming, place: "\(endpoint)", greeting: greeting)
    }
  }
}
