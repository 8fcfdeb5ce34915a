import SwerveCore
package import SwerveInference

/// The other ranks of a group, however they were started.
package protocol RankHandle: AnyObject {
  /// Rank 0's channels to its neighbours, and to all others.
  func links() -> RankLinks
  func coordinator() -> RankCoordinator
  /// Returns when all have loaded.
  ///
  /// - Throws: what the first one says that could not, or that it ended.
  func wait() throws(EngineStartError)
  /// What the first of them said that failed; nil where none has said anything.
  var firstReport: String? { get }
  /// Ends them; they are not waited for.
  ///
  /// - Parameter hasFailed: whether they can no longer be told in their own way.
  func stop(hasFailed: Bool)

  /// Whether a group that lost a rank can be started again by this process, with the keys and values it had.
  var canRestart: Bool { get }
  /// What is known of a rank that ended by itself, also while nothing is computed; nil: all live. Costs a system call a rank.
  var lost: String? { get }
  /// Ends all of them and starts them anew; links and coordinators made before are of no use any more.
  func restart() throws
  /// Whether all have loaded, waiting so long for each that has not.
  ///
  /// - Throws: what one says that could not, or that it ended.
  func poll(within seconds: Double) throws(EngineStartError) -> Bool
}

/// Ranks that come back only with this process.
extension RankHandle {
  package var canRestart: Bool { false }
  package var lost: String? { nil }
  package func restart() throws {}
  package func poll(within seconds: Double) throws(EngineStartError) -> Bool { true }
}

/// Why a group of ranks computes no more.
package struct RankFailure: Error, Hashable, CustomStringConvertible {
  package var reason: String

  package var description: String { "the ranks have stopped: \(reason)" }
}
