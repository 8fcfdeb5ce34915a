internal import SwerveCore
import Synchronization

/// The servers of one role: whose turn it is, how busy they are, who did not answer lately.
final class Upstreams: Sendable {
  private struct Server {
    var inFlight = 0
    /// Until when it is only asked if nobody else answers.
    var restsUntil: ContinuousClock.Instant?
    /// `GET /kv_transfer`, once it was asked; `.null` where the server knows no such thing.
    var description: JSON?
  }

  private struct State {
    var servers: [Server]
    var turn = 0
  }

  /// Base addresses, without a slash at the end.
  let urls: [String]
  private let policy: RouterConfiguration.Policy
  private let state: Mutex<State>

  /// How long a server that did not answer is left alone.
  static let rest = Duration.seconds(2)

  init(_ urls: [String], policy: RouterConfiguration.Policy) {
    self.urls = urls.map { url in
      var url = url
      while url.hasSuffix("/") { url.removeLast() }
      return url.hasSuffix("/v1") ? String(url.dropLast(3)) : url
    }
    self.policy = policy
    state = Mutex(State(servers: urls.map { _ in Server() }))
  }

  var isEmpty: Bool { urls.isEmpty }

  /// All servers in the order in which a request should try them.
  func order(now: ContinuousClock.Instant = .now) -> [Int] {
    state.withLock { state in
      guard !state.servers.isEmpty else { return [] }
      let first = state.turn
      state.turn = (state.turn + 1) % state.servers.count
      let turns = state.servers.indices.map { (first + $0) % state.servers.count }
      func rank(_ index: Int) -> (Int, Int) {
        let isResting = (state.servers[index].restsUntil ?? now) > now
        return (isResting ? 1 : 0, policy == .leastLoaded ? state.servers[index].inFlight : 0)
      }
      // Stable by hand: of equals the one whose turn it is.
      return turns.enumerated().sorted {
        let (a, b) = (rank($0.element), rank($1.element))
        return a == b ? $0.offset < $1.offset : a < b
      }.map(\.element)
    }
  }

  func begin(_ index: Int) { state.withLock { $0.servers[index].inFlight += 1 } }

  func end(_ index: Int) { state.withLock { $0.servers[index].inFlight -= 1 } }

  func inFlight(_ index: Int) -> Int { state.withLock { $0.servers[index].inFlight } }

  /// It did not answer. What it said of itself is forgotten: it may come back as another one.
  func fail(_ index: Int, now: ContinuousClock.Instant = .now) {
    state.withLock { state in
      state.servers[index].restsUntil = now + Self.rest
      state.servers[index].description = nil
    }
  }

  func succeed(_ index: Int) { state.withLock { $0.servers[index].restsUntil = nil } }

  func description(_ index: Int) -> JSON? { state.withLock { $0.servers[index].description } }

  func note(_ description: JSON?, of index: Int) { state.withLock { $0.servers[index].description = description } }
}

/// A request that is under way at a server, until whoever passes its answer on lets go of this.
final class Turn: Sendable {
  private let servers: Upstreams
  private let index: Int

  init(_ servers: Upstreams, _ index: Int) {
    self.servers = servers
    self.index = index
    servers.begin(index)
  }

  deinit { servers.end(index) }
}
