/// What a device can refuse. Every case says what was wrong and what would work.
package enum HardwareError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The system has no more memory of this kind.
  case outOfMemory(requestedBytes: Int)
  /// The kernel set is not in this build or not in this CPU.
  case unsupportedKernels(KernelSet, available: [KernelSet])
  /// Worker threads could not be started.
  case threadsUnavailable(requested: Int)
  /// CPUs or memory nodes that are not there.
  case placement(String)
  /// Sizes that do not fit together.
  case shape(String)

  package var description: String {
    switch self {
    case .outOfMemory(let bytes):
      "the system refused \(bytes) bytes of memory; free some, or ask for a smaller KV cache or batch"
    case .unsupportedKernels(let set, let available):
      "kernel set \(set.rawValue) is not available on this machine; "
        + "use \(available.map(\.rawValue).joined(separator: ", "))"
    case .threadsUnavailable(let count):
      "\(count) kernel threads could not be started; use fewer threads"
    case .placement(let sentence), .shape(let sentence): sentence
    }
  }
}
