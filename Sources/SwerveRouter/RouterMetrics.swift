import Synchronization

/// The router's own counters, as Prometheus text.
final class RouterMetrics: Sendable {
  /// What became of a prompt.
  enum Prompt: String, CaseIterable {
    /// Computed by a prefill server and handed over.
    case handedOver = "handed_over"
    /// Not of use for this request, or there are no prefill servers.
    case direct
    /// No prefill server could be reached, or none did it: the decode server computes it.
    case unreachable, refused, failed
  }

  private struct State {
    var prompts: [Prompt: Int] = [:]
    var answers: [Int: Int] = [:]
    var unreachable: [String: Int] = [:]
  }

  private let state = Mutex(State())

  func count(_ prompt: Prompt) { state.withLock { $0.prompts[prompt, default: 0] += 1 } }

  func count(status: Int) { state.withLock { $0.answers[status, default: 0] += 1 } }

  func countUnreachable(_ url: String) { state.withLock { $0.unreachable[url, default: 0] += 1 } }

  func text(_ roles: [(name: String, servers: Upstreams)]) -> String {
    let state = state.withLock { $0 }
    var lines: [String] = []
    func family(_ name: String, _ type: String, _ help: String) {
      lines += ["# HELP \(name) \(help)", "# TYPE \(name) \(type)"]
    }
    family("swerve_router_prompts_total", "counter", "Requests by what became of their prompt.")
    for prompt in Prompt.allCases {
      lines.append("swerve_router_prompts_total{result=\"\(prompt.rawValue)\"} \(state.prompts[prompt, default: 0])")
    }
    family("swerve_router_answers_total", "counter", "Answers by status.")
    for (status, count) in state.answers.sorted(by: { $0.key < $1.key }) {
      lines.append("swerve_router_answers_total{status=\"\(status)\"} \(count)")
    }
    family("swerve_router_unreachable_total", "counter", "Times that a server did not answer.")
    for role in roles {
      for url in role.servers.urls {
        lines.append(
          "swerve_router_unreachable_total{role=\"\(role.name)\",server=\"\(Self.label(url))\"} "
            + "\(state.unreachable[url, default: 0])")
      }
    }
    family("swerve_router_requests_running", "gauge", "Requests under way, by server.")
    for role in roles {
      for (index, url) in role.servers.urls.enumerated() {
        lines.append(
          "swerve_router_requests_running{role=\"\(role.name)\",server=\"\(Self.label(url))\"} "
            + "\(role.servers.inFlight(index))")
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func label(_ text: String) -> String {
    String(text.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : $0.isNewline ? [" "] : [$0] })
  }
}
