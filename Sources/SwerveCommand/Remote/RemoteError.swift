/// Why a server gave no answer.
package enum RemoteError: Error, Hashable, Sendable, CustomStringConvertible {
  case unreachable(String, reason: String)
  case status(Int, message: String)
  case badAnswer(String)

  package var description: String {
    switch self {
    case .unreachable(let url, let reason): "cannot reach \(url) (\(reason)); is the server running?"
    case .status(let code, let message): "the server answered \(code): \(message)"
    case .badAnswer(let what): "the server's answer could not be read: \(what)"
    }
  }
}
