/// Decides what is written about long work: a bar that redraws itself on a terminal, now and then a plain line
/// elsewhere. Pure: time is handed in, text comes out.
package struct ProgressRenderer: Sendable {
  package enum Unit: Sendable { case bytes, percent, count(String) }

  package let label: String
  package let unit: Unit
  /// Columns of the terminal; nil = no terminal.
  package let columns: Int?
  private var started: Double?
  private var lastShown = -Double.infinity
  private var lastStep = -1

  package init(label: String, unit: Unit, columns: Int?) {
    self.label = label
    self.unit = unit
    self.columns = columns
  }

  /// What to write now; empty when it is too early for another line. `total` 0 = not known.
  package mutating func update(done: Int, total: Int, now: Double) -> String {
    let start = started ?? now
    started = start
    let isOver = total > 0 && done >= total
    guard let columns else {
      // Every tenth, but not within two seconds of the last line, and at least every ten seconds. Work that is over
      // before its first line needs none.
      let step = total > 0 ? Int(Double(done) / Double(total) * 10) : 0
      let waited = now - max(lastShown, start)
      let isDue = isOver ? lastStep >= 0 && lastStep < 10 : waited >= 10 || (step != lastStep && waited >= 2)
      if !isDue { return "" }
      lastStep = step
      lastShown = now
      return text(done: done, total: total, seconds: now - start) + "\n"
    }
    if !isOver, now - lastShown < 0.1 { return "" }
    lastShown = now
    return "\r" + bar(done: done, total: total, seconds: now - start, columns: columns) + "\u{1B}[K"
  }

  /// Ends the bar's line; nothing elsewhere.
  package mutating func finish() -> String {
    defer { started = nil }
    return columns != nil && started != nil ? "\n" : ""
  }

  private func text(done: Int, total: Int, seconds: Double) -> String {
    "\(label): \(total > 0 ? percent(done, total) + " " : "")\(amount(done: done, total: total, seconds: seconds))"
  }

  private func bar(done: Int, total: Int, seconds: Double, columns: Int) -> String {
    let tail = " " + amount(done: done, total: total, seconds: seconds)
    guard total > 0 else { return String((label + tail).prefix(columns - 1)) }
    let head = "\(label) \(Format.padded(percent(done, total), to: 4)) "
    let room = min(30, columns - 1 - head.count - tail.count - 2)
    if room < 5 { return String((head + tail.dropFirst()).prefix(columns - 1)) }
    let filled = min(room, Int(Double(room) * Double(done) / Double(total)))
    return head + "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: room - filled) + "]"
      + tail
  }

  private func percent(_ done: Int, _ total: Int) -> String {
    "\(min(100, Int(Double(done) / Double(total) * 100)))%"
  }

  private func amount(done: Int, total: Int, seconds: Double) -> String {
    let rate = seconds > 0 ? Double(done) / seconds : 0
    let left = rate > 0 && total > done ? ", \(Format.duration(Double(total - done) / rate)) left" : ""
    switch unit {
    case .percent: return "(\(Format.duration(seconds)))"
    case .bytes:
      let whole = total > 0 ? " of \(Format.bytes(total))" : ""
      return "(\(Format.bytes(done))\(whole), \(Format.bytes(Int(rate)))/s\(left))"
    case .count(let noun):
      let whole = total > 0 ? " of \(total)" : ""
      return "(\(done)\(whole) \(noun), \(Format.fixed(rate, 2))/s\(left))"
    }
  }
}
