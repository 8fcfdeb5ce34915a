/// What data workers hold and do. Empty where parameters and request data are in one place.
package struct DataStatistics: Sendable, Hashable {
  package struct Worker: Sendable, Hashable {
    /// `d0`
    package var name: String
    /// `cpu:0-3`
    package var device = ""
    /// The system's number of its process; 0: it is a thread.
    package var process: Int32 = 0
    package var isReady = false
    /// Incarnation, from 1.
    package var epoch = 0
    /// Its pool, and all else it took.
    package var kvBytes = 0
    package var scratchBytes = 0
    package var blocksTotal = 0
    /// Blocks that sequences hold.
    package var blocksUsed = 0
    package var blockBytes = 0
    package var sequences = 0
    /// Over the link, to it and from it.
    package var sentBytes = 0
    package var receivedBytes = 0
    /// Layers that it answered.
    package var exchanges = 0
    package var postSeconds = 0.0
    package var waitSeconds = 0.0
    package var doneSeconds = 0.0
    /// Of the waiting, what it computed.
    package var busySeconds = 0.0
    /// What an exchange takes beyond that: half and 99 of 100 take less. Seconds.
    package var medianDelay = 0.0
    package var highDelay = 0.0

    package init(name: String) { self.name = name }
  }

  package var workers: [Worker] = []
  /// Memory that the parameter worker's device has handed out: constant after the start.
  package var parameterBytes = 0
  /// Workers replaced since the start, by cause.
  package var recoveries: [String: Int] = [:]
  /// Sequences that were running with a worker lost or drained, beyond those of the step it was lost in.
  package var recoveredSequences = 0
  /// Sequences of lost workers that went on with their replacements, which found their keys and values.
  package var keptSequences = 0
  /// What workers sent or found that did not agree with what was known, by what that was: never used, counted.
  package var verifyFailures: [String: Int] = [:]
  /// Steps in one, two and three micro-batches; empty where there are no workers.
  package var stepsByMicroBatches: [Int] = []
  /// The share of the time in which rows were with workers that the parameter worker computed others'.
  package var overlapRatio = 0.0
  /// Bytes of running maxima, sums and outputs of sequences that lie with several workers, handed from one to the next.
  package var handedStateBytes = 0

  package init() {}
}
