/// How an attachment or a draining ended: the worker's name.
package typealias DataAnswer = @Sendable (Result<String, DataChangeError>) -> Void

/// Why workers do not change as asked.
package enum DataChangeError: Error, Sendable, Hashable, CustomStringConvertible {
  case refused(String)
  case stopped
  case isUnified

  package var description: String {
    switch self {
    case .refused(let sentence): sentence
    case .stopped: "the engine has stopped"
    case .isUnified: "there are no data workers; start with --placement separated to have some"
    }
  }
}
