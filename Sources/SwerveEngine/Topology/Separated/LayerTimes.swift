/// How long a data worker takes for the layers of a step, as its parameter worker sees it. Up to `capacity` layers are
/// on their way at a time, answered in the order in which they were asked.
struct LayerTimes {
  private static let capacity = 8
  /// When the layers that are on their way were posted. Monotonic nanoseconds.
  private var posts = InlineArray<8, UInt64>(repeating: 0)
  private var posted = 0
  private var answered = 0
  private var lastAnswer: UInt64 = 0
  private var slowest: UInt64 = 0
  private var between: UInt64 = 0
  private var rows = 0
  private var work = 0.0

  /// Shorter waits may be for the look at a message that was there already.
  private static let shortWait: UInt64 = 20_000

  /// A step begins, with so many rows that see so many tokens in all.
  mutating func begin(rows: Int, work: Double) {
    self = LayerTimes()
    self.rows = rows
    self.work = work
  }

  /// A further part of the step.
  mutating func add(rows: Int, work: Double) {
    self.rows += rows
    self.work += work
  }

  mutating func post(at now: UInt64) {
    if lastAnswer > 0 && posted == answered { between += now - lastAnswer }
    posts[posted % Self.capacity] = now
    posted += 1
  }

  /// A layer's answer is here.
  ///
  /// - Parameters:
  ///   - begin: when somebody began to wait for it. Whoever did not have to wait knows only what the worker says of itself,
  ///     for others were waited for meanwhile.
  ///   - busy: what the worker says that it took. Nanoseconds.
  mutating func answer(at now: UInt64, waitedSince begin: UInt64, busy: UInt64) {
    guard answered < posted else { return }
    let whole = now - min(now, posts[answered % Self.capacity])
    answered += 1
    lastAnswer = now
    slowest = max(slowest, now - min(now, begin) > Self.shortWait ? whole : min(whole, busy))
  }

  /// What the step was, once; nil where there was none, or its answers did not all come.
  mutating func take() -> SlowWorkerWatch.Speed? {
    defer { self = LayerTimes() }
    guard answered > 0, answered == posted else { return nil }
    return SlowWorkerWatch.Speed(
      seconds: Double(slowest) * 1e-9, work: work, ownSeconds: Double(between) * 1e-9, rows: Double(rows))
  }
}
