package import SwerveRouter

extension Flag {
  /// `router`.
  static let router: [Flag] = [
    .list("prefill", .router, \.router.prefill, "addresses of servers that compute prompts (kv_producer or kv_both)"),
    .list("decode", .router, \.router.decode, "addresses of servers that answer (kv_consumer or kv_both)"),
    .custom(
      "policy", .words("round-robin", "least-loaded"), .router, default: "round-robin", "which server is next"
    ) { $0.router.policy = .init(rawValue: $1.text) ?? .roundRobin },
    .string("host", .router, \.router.host, default: "0.0.0.0", "interface to listen on"),
    .int("port", .router, \.router.port, default: 8000, "0 = any free port"),
    .list("api-key", .router, \.router.apiKeys, isSecret: true, "keys clients must bring; none = the servers decide"),
    .double("connect-timeout", .router, \.router.connectSeconds, default: 5, "seconds to reach a server"),
    .double(
      "prefill-timeout", .router, \.router.prefillSeconds, default: 600,
      "seconds for a prompt before the decode server computes it"),
  ]
}

/// `router`.
package typealias RouterSettings = RouterConfiguration
