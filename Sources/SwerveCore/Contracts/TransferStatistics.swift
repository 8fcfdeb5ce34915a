/// Blocks of keys and values that went to other engines and came from them. Counters only grow.
package struct TransferStatistics: Sendable, Hashable {
  /// Transfers of which every block went, or came, and their seconds from the reservation to the last block.
  package var sent = 0
  package var received = 0
  package var sendSeconds = CountedValues(bounds: CountedValues.seconds)
  package var receiveSeconds = CountedValues(bounds: CountedValues.seconds)
  /// Bytes on the wire, those of failed transfers included.
  package var sentBytes = 0
  package var receivedBytes = 0
  /// Transfers that failed, by reason; prompts were computed here all the same, or refused.
  package var failures: [String: Int] = [:]
  /// Blocks that came under a generation that is over, or not at all: misses.
  package var staleMessages = 0

  // What requests made of them.
  /// Prompt tokens that requests with a transfer asked for, and that were taken from it.
  package var queriedTokens = 0
  package var hitTokens = 0
  /// Requests that were refused because their blocks did not come (`kv_load_failure_policy` fail).
  package var failedRequests = 0

  // Gauges
  package var receiveBlocks = 0
  package var receiveBlocksUsed = 0
  package var sendBytesHeld = 0

  package init() {}
}
