/// Why an engine does not start: one sentence, and the command's exit code.
package enum EngineStartError: Error, Sendable, CustomStringConvertible {
  /// Settings that cannot be used, all of them.
  case configuration([String])
  /// Model or tokenizer cannot be loaded.
  case model(String)
  /// Not enough memory for the weights, or for one sequence of the maximum length.
  case memory(String)
  case device(String)

  package var exitCode: Int32 {
    switch self {
    case .configuration: 2
    case .model: 3
    case .memory: 4
    case .device: 6
    }
  }

  package var description: String {
    switch self {
    case .configuration(let problems): problems.joined(separator: "\n")
    case .model(let sentence), .memory(let sentence), .device(let sentence): sentence
    }
  }
}
