/// How long a step takes, learned from the steps so far: a part that is always there and a part for each row.
///
/// A straight line through (rows, nanoseconds), fitted by least squares with weights that halve about every 64 steps, so
/// it follows contexts that grow. It decides only how much a step computes, never what.
struct Pace {
  private var weight = 0.0
  private var rows = 0.0
  private var time = 0.0
  private var rowsSquared = 0.0
  private var rowsTime = 0.0
  private static let memory = 0.99

  /// A step computed that many rows in that time.
  mutating func observe(rows count: Int, nanoseconds: UInt64) {
    if count < 1 { return }
    let x = Double(count)
    let y = Double(nanoseconds)
    weight = weight * Self.memory + 1
    rows = rows * Self.memory + x
    time = time * Self.memory + y
    rowsSquared = rowsSquared * Self.memory + x * x
    rowsTime = rowsTime * Self.memory + x * y
  }

  /// Rows that a step may have to end within that time, ≥ 0; nil while too little is known.
  func rows(within nanoseconds: UInt64) -> Int? {
    guard weight > 4 else { return nil }
    let spread = weight * rowsSquared - rows * rows
    var perRow = time / max(rows, 1)
    var fixed = 0.0
    // Steps of one size tell nothing about the parts: all of the time then counts as the rows'.
    if spread > 0.01 * rows * rows {
      perRow = max((weight * rowsTime - rows * time) / spread, 1e-3)
      fixed = max((time - perRow * rows) / weight, 0)
    }
    return Int(max(min((Double(nanoseconds) - fixed) / perRow, 1e9), 0))
  }
}
