/// An order of requests. It decides who is admitted first, whose prompt is computed first and, read backwards, who is
/// preempted first. The scheduler decides what fits a step; results never depend on the order.
///
/// `precedes` must be a strict weak order and must not change its answer for two keys while both are scheduled. Keys
/// that it holds equal are ordered by when they were added, then by choice. It is asked when a sequence enters the
/// queue or a slot, never in a plain decode step. It is called from the engine's thread; it must not wait.
public protocol SchedulingPolicy: Sendable {
  /// Whether `a` goes before `b`.
  func precedes(_ a: SchedulingKey, _ b: SchedulingKey) -> Bool
}

/// What a policy may look at.
public struct SchedulingKey: Sendable, Hashable {
  /// Lower runs earlier, where the policy looks at it.
  public var priority: Int
  /// When the request came, in nanoseconds on the engine's monotonic clock.
  public var arrival: UInt64
  /// Counts the requests as they were added. Unique.
  public var serial: UInt64
  /// 0 ..< n
  public var choice: Int32
  /// Tokens of the prompt, ≥ 1.
  public var promptTokens: Int32
  /// Place of the request's service class among all, the most protected one first; 0 without classes.
  public var rank: Int32
  /// Index of the lane it waits in.
  package var lane: Int32

  public init(
    priority: Int, arrival: UInt64, serial: UInt64, choice: Int32, promptTokens: Int32 = 1, rank: Int32 = 0
  ) {
    self.priority = priority
    self.arrival = arrival
    self.serial = serial
    self.choice = choice
    self.promptTokens = promptTokens
    self.rank = rank
    self.lane = 0
  }
}
