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
    try Self.check([given], named, reachable)
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

  /// Of one of several ranks of this host and its data workers. Where they are not all named, each rank and each worker has
  /// as many threads.
  ///
  /// - Throws: `.configuration` for a CPU that cannot be reached.
  package init(
    parameter given: [Int]?, data named: [[Int]?], threads: Int, count: Int, ranks: Int
  ) throws(EngineStartError) {
    try Self.check([given], named)
    let cpus = ([given] + named).compactMap { $0 }
    if cpus.count == 1 + count {
      isShared = Set(cpus.joined()).count < cpus.joined().count
    } else {
      isShared = Self.isShared(threads: threads, workers: count, ranks: ranks)
    }
    (parameter, data) = (given, named)
  }

  /// Whether ranks of this host and their data workers have more threads than there are CPUs, where each has as many.
  package static func isShared(threads: Int, workers: Int, ranks: Int = 1) -> Bool {
    ranks * threads * (1 + workers) > KernelPool.granted(KernelPool.processCPUs).count
  }

  /// - Throws: `.configuration` for CPUs of parameters or of data that the process cannot reach. A thread that keeps to some
  ///   of them may ask.
  package static func check(
    _ parameters: [[Int]?], _ data: [[Int]?] = [], _ reachable: [Int] = KernelPool.processCPUs.map(Int.init)
  ) throws(EngineStartError) {
    let all = parameters.map { ("--parameter-devices", $0) } + data.map { ("--data-devices", $0) }
    var problems: [String] = []
    for (flag, cpus) in all {
      guard let missing = cpus?.first(where: { !reachable.contains($0) }) else { continue }
      problems.append(
        "\(flag) names CPU \(missing), which this process may not use; it may use \(CPUList.text(reachable)).")
    }
    if !problems.isEmpty { throw .configuration(problems) }
  }
}

/// Lists of CPUs on their way to other processes.
extension CPUList {
  static func json(_ cpus: [Int]?) -> JSON { cpus.map { .string(text($0)) } ?? .null }

  /// nil for anything else.
  static func numbers(_ json: JSON) -> [Int]? {
    guard let cpus = json.string.flatMap({ parse($0) }), !cpus.isEmpty else { return nil }
    return cpus
  }
}
