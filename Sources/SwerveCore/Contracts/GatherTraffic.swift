/// What a ring of weights moved so far, and how often it came too late. Counters only grow.
package struct GatherTraffic: Sendable, Hashable {
  /// Bytes fetched into the ring.
  package var readBytes = 0
  /// Of these, bytes that other ranks sent.
  package var fetchedBytes = 0
  /// Nanoseconds that steps waited for weights.
  package var stallNanoseconds = 0
  /// Items that were waited for.
  package var lateItems = 0
  /// Items that were fetched and not used, because another one was needed.
  package var wastedItems = 0
  /// Items that could not be fetched.
  package var failedItems = 0

  package init() {}
}
