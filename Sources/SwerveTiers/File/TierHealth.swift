/// What a file tier still does.
package enum TierState: String, Sendable, Hashable {
  /// Reads and writes.
  case healthy
  /// Reads; nothing is written, evicted or removed.
  case readOnly
  /// Neither: every look-up is a miss. Ends with the process.
  case off
}

/// When a tier stops trusting its disk: a pure state machine over the outcomes of its calls.
///
/// - `healthy → readOnly`: one write failed (disk full, input/output error, no permission), or `slowLimit` writes in a row
///   took longer than `slowSeconds`.
/// - `readOnly → healthy`: after a pause one write is let through as a probe, and succeeds in time. The pause starts at
///   `firstPause` and doubles with each failed probe up to `longestPause`. So freed space is noticed without a restart.
/// - `readOnly → off`: `failureLimit` writes in a row failed for another reason than a full disk.
/// - any `→ off`: `failureLimit` reads in a row failed or took longer than `slowSeconds`.
struct TierHealth {
  struct Limits: Sendable, Hashable {
    /// Seconds from which one block's read or write counts as slow.
    var slowSeconds = 5.0
    var slowLimit = 4
    var failureLimit = 4
    /// Seconds.
    var firstPause = 5.0
    var longestPause = 300.0
  }

  let limits: Limits
  /// Whether the operator asked for a tier that is never written.
  let isFixedReadOnly: Bool
  private(set) var state: TierState
  private(set) var transitions = 0
  private var failedWrites = 0
  private var slowWrites = 0
  private var failedReads = 0
  private var pause = 0.0
  /// Seconds on the tier's clock at which the next probe may start.
  private var nextProbe = 0.0
  private var isProbing = false

  init(limits: Limits, isFixedReadOnly: Bool) {
    self.limits = limits
    self.isFixedReadOnly = isFixedReadOnly
    state = isFixedReadOnly ? .readOnly : .healthy
  }

  var mayRead: Bool { state != .off }

  /// Whether a write may start now. True in `readOnly` makes it the probe: its outcome must be reported.
  mutating func mayWrite(now: Double) -> Bool {
    switch state {
    case .healthy: return true
    case .off: return false
    case .readOnly:
      if isFixedReadOnly || isProbing || now < nextProbe { return false }
      isProbing = true
      return true
    }
  }

  mutating func wrote(seconds: Double, now: Double) {
    failedWrites = 0
    slowWrites = seconds > limits.slowSeconds ? slowWrites + 1 : 0
    if state == .readOnly, isProbing {
      isProbing = false
      if slowWrites == 0 {
        pause = 0
        enter(.healthy)
      } else {
        postpone(now)
      }
    } else if state == .healthy, slowWrites >= limits.slowLimit {
      enter(.readOnly)
      postpone(now)
    }
  }

  /// A write that did not come to the disk (the caller gave it up): a probe may be tried again at once.
  mutating func writeGivenUp() { isProbing = false }

  /// `isFull`: the disk (or quota) has no room.
  mutating func writeFailed(isFull: Bool, now: Double) {
    failedWrites = isFull ? 0 : failedWrites + 1
    isProbing = false
    if state == .healthy { enter(.readOnly) }
    postpone(now)
    if failedWrites >= limits.failureLimit { enter(.off) }
  }

  mutating func didRead(seconds: Double) {
    if seconds > limits.slowSeconds { readFailed() } else { failedReads = 0 }
  }

  mutating func readFailed() {
    failedReads += 1
    if failedReads >= limits.failureLimit { enter(.off) }
  }

  private mutating func postpone(_ now: Double) {
    pause = pause == 0 ? limits.firstPause : min(pause * 2, limits.longestPause)
    nextProbe = now + pause
  }

  private mutating func enter(_ next: TierState) {
    if state == next || state == .off { return }
    state = next
    transitions += 1
  }
}
