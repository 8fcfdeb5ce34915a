import SwerveCore
import SwerveHardware

/// Which CPUs of this host the parameter worker and its data workers compute on: those that were named; where nobody
/// named any and there are enough, each worker has some of its own; else all have all.
package struct WorkerCPUs: Sendable, Equatable {
  /// The parameter worker's; nil: all that the process may use.
  package var parameter: [Int]?
  /// Each data worker's, by its number.
  package var data: [[Int]?]
  /// Whether a CPU belongs to two of them.
  package var isShared: Bool

  /// - Parameters:
  ///   - threads: of a worker without named CPUs; nil: one a CPU.
  ///   - local: data workers of this host, the last ones of `count`.
  ///   - reachable: CPUs that the process may run on.
  ///   - allowed: those of them that it is granted the time of.
  /// - Throws: `.configuration` for a CPU that cannot be reached.
  package init(
    parameter given: [Int]?, data named: [[Int]?], threads: Int?, count: Int, local: Int, reachable: [Int],
    allowed: [Int]
  ) throws(EngineStartError) {
    var problems: [String] = []
    for (flag, cpus) in [("--parameter-devices", given)] + named.map({ ("--data-devices", $0) }) {
      guard let missing = cpus?.first(where: { !reachable.contains($0) }) else { continue }
      problems.append(
        "\(flag) names CPU \(missing), which this process may not use; it may use \(CPUList.text(reachable)).")
    }
    if !problems.isEmpty { throw .configuration(problems) }
    let width = threads ?? allowed.count
    var parts = (parameter: given, data: named)
    // A single thread is best left to the system.
    let isFree = given == nil && named.allSatisfy { $0 == nil }
    if isFree && width > 1 && width * (1 + local) <= allowed.count {
      func part(_ index: Int) -> [Int] { Array(allowed[(index * width)..<((index + 1) * width)]) }
      let first = count - local
      parts = (part(0), (0..<count).map { $0 < first ? nil : part(1 + $0 - first) })
    }
    let all = [parts.parameter] + (count - local..<count).map { $0 < parts.data.count ? parts.data[$0] : nil }
    let bound = all.compactMap { $0 }.joined()
    let loose = all.count { $0 == nil }
    let taken = Set(bound).count
    // Those without CPUs of their own may be on any, and find room where there is some.
    isShared = taken < bound.count || taken + loose * width > allowed.count
    (parameter, data) = parts
  }
}
