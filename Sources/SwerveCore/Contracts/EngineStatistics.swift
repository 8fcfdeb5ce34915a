/// Counters and gauges of the engine at one moment. Counters only grow; they are totals since start.
package struct EngineStatistics: Sendable, Hashable {
  // Gauges
  package var runningRequests = 0
  package var waitingRequests = 0
  /// Of those, the ones whose keys and values are on their way from a lower tier.
  package var deferredRequests = 0
  /// Prompt tokens of requests that never ran.
  package var waitingTokens = 0
  /// When the request arrived that has waited longest without running, on the engine's clock; nil when none waits.
  package var oldestArrival: UInt64?
  /// How long that one has waited, in seconds; 0 when none waits.
  package var oldestSeconds = 0.0
  package var blocksTotal = 0
  package var blocksUsed = 0
  /// Blocks that no sequence holds and whose content is kept to be found again.
  package var blocksCached = 0
  /// Sequences that hold a slot.
  package var runningSequences = 0
  /// Entries of the queue: sequences that were preempted, and requests of which not every choice has started.
  package var waitingSequences = 0
  /// Of those, the ones whose blocks are kept below the device, to be brought back.
  package var keptSequences = 0
  package var blockSize = 0
  /// Blocks of running sequences below the device.
  package var overflow = OverflowStatistics()

  // Counters
  package var steps = 0
  package var promptTokens = 0
  package var generationTokens = 0
  /// Prompt tokens looked up in, and found in, the prefix cache.
  package var prefixQueriedTokens = 0
  package var prefixHitTokens = 0
  /// Of `prefixHitTokens`, those copied out of a block that only begins alike. Counts recomputed prompts as well.
  package var copiedTokens = 0
  package var preemptions = 0
  /// Sequences whose step was lost with a worker, and that went on with the keys and values they had.
  package var resumedSequences = 0
  /// How often a group of ranks lost one and was started again.
  package var groupRestarts = 0
  /// Preemptions of sequences whose blocks were copied below the device instead of being recomputed.
  package var swappedPreemptions = 0
  /// Sequences that read keys and values of a lower precision.
  package var lossySequences = 0
  /// Blocks below the device; nil without.
  package var tiers: TierStatistics?
  /// Data workers; empty where keys and values are in this process.
  package var data = DataStatistics()
  /// The request journal; nil where none is kept.
  package var journal: JournalStatistics?
  /// Blocks that went to other engines and came from them; nil without.
  package var transfer: TransferStatistics?
  /// What moved for weights that are fetched into a ring; nil where all are resident.
  package var gather: GatherTraffic?
  /// What ranks told each other; nil with one rank.
  package var ranks: RankTraffic?
  /// Seconds spent in steps.
  package var stepSeconds = 0.0
  /// Bytes of keys and values that sequences' steps could read: the blocks of each, once a step.
  package var kvReadBytes = 0
  /// Sequences' steps with drafts, tokens drafted in them, and tokens gained: drafts that were sampled and used.
  package var drafts = 0
  package var draftTokens = 0
  package var acceptedTokens = 0
  /// Accepted drafts by their place behind the last known token, as far as `draftLimit`.
  package var acceptedByPosition = SIMD16<Int>()

  // Constant after start
  /// Most drafts of a sequence and step; 0 = no speculation.
  package var draftLimit = 0
  package var weightBytes = 0
  /// Buffers of a step: activations, logits, tables.
  package var scratchBytes = 0
  /// The device and what of it is used, as `cpu:0-3`; empty before it is known.
  package var device = ""
  package var kvBytes = 0
  package var loadSeconds = 0.0

  package init() {}

  /// Share of KV blocks in use, 0…1.
  package var kvUsage: Double { blocksTotal == 0 ? 0 : Double(blocksUsed) / Double(blocksTotal) }
}

/// The life of one finished request, in seconds since it arrived. Recorded once per choice group, also for aborts.
package struct RequestStatistics: Sendable {
  package var id: String
  package var promptTokens = 0
  package var cachedTokens = 0
  package var generationTokens = 0
  package var n = 1
  /// As the request named it; nil = nobody in particular.
  package var tenant: String?
  /// Name of the service class.
  package var serviceClass = "default"
  /// Whether the targets of its class were kept; false for a request that did not finish. Without targets, whether it
  /// finished.
  package var metTargets = false
  package var maxTokens: Int?
  package var finish: FinishReason = .abort
  package var preemptions = 0
  /// Arrival → first scheduled.
  package var queueSeconds = 0.0
  /// First scheduled → first token.
  package var prefillSeconds = 0.0
  /// First token → last token.
  package var decodeSeconds = 0.0
  package var firstTokenSeconds: Double?
  package var totalSeconds = 0.0

  package init(id: String) { self.id = id }
}

/// Where the engine reports what happened. Called from the publisher, never from the engine thread, in order.
/// Implementations must return quickly.
package protocol EngineObserver: Sendable {
  /// Seconds from arrival to first token of a request.
  func firstToken(seconds: Double)
  /// Seconds between two steps that brought tokens of a choice.
  func interToken(seconds: Double)
  /// Tokens computed by one step and its duration.
  func step(tokens: Int, seconds: Double)
  func finished(_ request: RequestStatistics)
}
