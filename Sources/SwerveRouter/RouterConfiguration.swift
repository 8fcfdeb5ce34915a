// A front for servers that compute prompts and servers that go on with them: one address, the same wire.
// It must not know a model, a token or an engine: it reads of a request what it has to change, and passes on the rest.
// Start with RouterResponder, a request's way; Handoff says what prompts' servers are asked.

/// What `swerve router` is told.
package struct RouterConfiguration: Sendable {
  package enum Policy: String, Sendable, CaseIterable {
    case roundRobin = "round-robin"
    /// The one with the fewest requests under way through this router.
    case leastLoaded = "least-loaded"
  }

  package var host = "0.0.0.0"
  /// 0 = any free one.
  package var port = 8000
  /// Base addresses, `http://host:port`.
  package var prefill: [String] = []
  package var decode: [String] = []
  package var policy = Policy.roundRobin
  /// Keys that clients must bring; none = whatever the servers ask for.
  package var apiKeys: [String] = []
  /// Seconds to connect to a server, and for its word about itself.
  package var connectSeconds = 5.0
  /// Seconds that a prompt may take elsewhere before its request is computed in one place.
  package var prefillSeconds = 600.0
  /// Bytes of a request's body, at most.
  package var mostBodyBytes = 64 << 20

  package init() {}

  /// All problems, one sentence each.
  package func problems() -> [String] {
    var found: [String] = []
    if decode.isEmpty { found.append("swerve router needs --decode URL: the servers that answer.") }
    for url in prefill + decode where !(url.hasPrefix("http://") || url.hasPrefix("https://")) {
      found.append("\(url) is no server's address; write http://HOST:PORT.")
    }
    if !(0...65535).contains(port) { found.append("--port must be between 0 and 65535, not \(port).") }
    for (name, value) in [("--connect-timeout", connectSeconds), ("--prefill-timeout", prefillSeconds)]
    where !(value > 0 && value <= 86_400) {
      found.append("\(name) must be greater than 0 and at most 86400 seconds, not \(value).")
    }
    return found
  }
}
