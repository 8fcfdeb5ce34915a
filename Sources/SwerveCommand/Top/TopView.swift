/// The live view as lines of text. Pure: snapshots go in, lines come out.
package struct TopView: Sendable {
  /// Where the parameters' bytes were when the view began.
  private var first: (time: Double, parameterBytes: Double)?
  private var previous: TopSnapshot?
  private let url: String

  package init(url: String) { self.url = url }

  /// The view of a snapshot; rates are those since the one before, or since the server's start for the first one.
  package mutating func lines(_ now: TopSnapshot) -> [String] {
    let seconds = previous.map { now.time - $0.time } ?? now.uptime
    let rates = Rates(now: now, previous: previous, seconds: max(seconds, 1e-3))
    let parameters = now.workers.reduce(0) { $0 + $1.parameterBytes }
    if first == nil { first = (now.time, parameters) }
    let period = previous == nil ? "since the start" : "over \(Format.fixed(seconds, 1)) s"
    var lines = ["\(url)  \(now.model)  up \(Format.duration(now.uptime))  rates \(period)", ""]
    lines += Self.table(workers(now, rates))
    lines.append("")
    lines += Self.table(tiers(now, rates))
    lines += ["", parameterLine(now.time, parameters), sequenceLine(now), tokenLine(rates), prefixLine(now, rates)]
    let spills = now.spilledBytes.keys.sorted().map { "\($0) \(Self.rate(rates.spilled[$0] ?? 0))" }
    if !spills.isEmpty { lines.append("spill: " + spills.joined(separator: ", ")) }
    previous = now
    return lines
  }

  private func workers(_ now: TopSnapshot, _ rates: Rates) -> [[String]] {
    // Below the device only what there is.
    let lower = TopSnapshot.tierOrder.dropFirst().filter { tier in now.workers.contains { $0.tiers[tier] != nil } }
    let hasLinks = now.workers.contains { $0.linkMedian != nil }
    var rows = [
      ["WORKER", "ROLE", "DEVICE", "PARAMS", "KV used/total"] + lower.map { $0.uppercased() } + ["READ/s", "BUSY"]
        + (hasLinks ? ["LINK p50/p99"] : [])
    ]
    for (place, worker) in now.workers.enumerated() {
      // The host's row is about what lies below all workers.
      let hasSteps = worker.role != "tiers"
      let device = worker.tiers["device"] ?? .init()
      let kv = hasSteps ? "\(Self.bytes(device.used)) / \(Self.bytes(device.total))" : "-"
      let busy = hasSteps ? "\(Format.fixed(min(rates.busy[worker.name] ?? 0, 1) * 100, 0))%" : "-"
      rows.append(
        [
          worker.name, worker.role, worker.device.isEmpty ? "-" : worker.device, Self.bytes(worker.parameterBytes),
          kv,
        ] + lower.map { worker.tiers[$0].map { Self.bytes($0.used + $0.cached) } ?? "-" } + [
          place == 0 ? Self.rate(rates.read.values.reduce(0, +)) : "-",
          busy,
        ] + (hasLinks ? [Self.delay(worker)] : []))
    }
    return rows
  }

  private static func delay(_ worker: TopSnapshot.Worker) -> String {
    guard let median = worker.linkMedian, let high = worker.linkHigh else { return "-" }
    return "\(Format.fixed(median * 1e6, 0))/\(Format.fixed(high * 1e6, 0)) us"
  }

  private func tiers(_ now: TopSnapshot, _ rates: Rates) -> [[String]] {
    var rows = [["TIER", "USED", "CACHED", "FREE", "TOTAL", "READ/s"]]
    for tier in TopSnapshot.tierOrder {
      let all = now.workers.compactMap { $0.tiers[tier] }
      if all.isEmpty { continue }
      func sum(_ path: KeyPath<TopSnapshot.TierBytes, Double>) -> String {
        Self.bytes(all.reduce(0) { $0 + $1[keyPath: path] })
      }
      rows.append(
        [tier, sum(\.used), sum(\.cached), sum(\.free), sum(\.total), rates.read[tier].map(Self.rate) ?? "-"])
    }
    return rows
  }

  private func parameterLine(_ time: Double, _ bytes: Double) -> String {
    guard let first, time > first.time else { return "parameters: \(Self.bytes(bytes))" }
    let delta = bytes - first.parameterBytes
    let span = Format.duration(time - first.time)
    if delta == 0 { return "parameters: constant since this view began \(span) ago (delta 0 B)" }
    return
      "parameters: changed since this view began \(span) ago (delta \(delta < 0 ? "-" : "+")\(Self.bytes(abs(delta))))"
  }

  private func sequenceLine(_ now: TopSnapshot) -> String {
    func count(_ value: Double?) -> String { String(Int(value ?? 0)) }
    let states = ["running", "parked", "waiting", "recovering"].filter {
      $0 != "recovering" || now.sequences[$0] ?? 0 > 0
    }
    let sequences = states.map { "\(count(now.sequences[$0])) \($0)" }.joined(separator: ", ")
    return "sequences: \(sequences)   requests: \(count(now.runningRequests)) running, "
      + "\(count(now.waitingRequests)) waiting"
  }

  private func tokenLine(_ rates: Rates) -> String {
    "tokens/s: \(Format.fixed(rates.prompt, 1)) prompt, \(Format.fixed(rates.generation, 1)) generated   "
      + "steps/s: \(Format.fixed(rates.steps, 1))   preemptions/s: \(Format.fixed(rates.preemptions, 2))"
  }

  private func prefixLine(_ now: TopSnapshot, _ rates: Rates) -> String {
    func percent(_ share: Double) -> String { "\(Format.fixed(share * 100, 1))%" }
    // Sources that never had anything stay out of sight.
    let sources = now.hitTokens.filter { $0.value > 0 }.keys.sorted {
      let order = TopSnapshot.tierOrder
      return (order.firstIndex(of: $0) ?? order.count, $0) < (order.firstIndex(of: $1) ?? order.count, $1)
    }
    let parts = sources.map { "\($0) \(percent(rates.hitShare[$0] ?? 0))" }
    return "prefix hits: \(percent(rates.hitShare.values.reduce(0, +))) of prompt tokens looked up"
      + (parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))")
  }

  // MARK: Text

  /// Columns as wide as their widest entry, two spaces apart; the last column ends its line.
  private static func table(_ rows: [[String]]) -> [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.enumerated().map { $0 == row.count - 1 ? $1 : Format.padded($1, to: widths[$0] + 2) }
      return cells.joined()
    }
  }

  private static func bytes(_ value: Double) -> String { Format.bytes(Int(max(0, min(value, 1e18)).rounded())) }

  /// Bytes a second, in powers of ten as bandwidths are given.
  private static func rate(_ value: Double) -> String {
    for (unit, size) in [("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3)] where value >= size {
      return "\(Format.fixed(value / size, value / size < 10 ? 1 : 0)) \(unit)"
    }
    return "\(Int(max(0, value))) B/s"
  }

  /// As much of the lines as a terminal shows.
  package static func fitted(_ lines: [String], columns: Int, rows: Int) -> [String] {
    lines.prefix(max(rows, 1)).map { String($0.prefix(max(columns, 1))) }
  }
}

/// What changed between two snapshots, a second.
private struct Rates {
  var prompt, generation, steps, preemptions: Double
  var read: [String: Double] = [:]
  var spilled: [String: Double] = [:]
  /// Share of time in steps, by worker.
  var busy: [String: Double] = [:]
  /// Of the prompt tokens looked up, by source.
  var hitShare: [String: Double] = [:]

  init(now: TopSnapshot, previous: TopSnapshot?, seconds: Double) {
    // A server that started anew counts from nothing.
    let before = previous.flatMap { $0.steps <= now.steps && $0.uptime <= now.uptime + 1 ? $0 : nil }
    func rate(_ path: KeyPath<TopSnapshot, Double>) -> Double {
      max(now[keyPath: path] - (before?[keyPath: path] ?? 0), 0) / seconds
    }
    func rates(_ path: KeyPath<TopSnapshot, [String: Double]>) -> [String: Double] {
      now[keyPath: path].reduce(into: [:]) {
        $0[$1.key] = max($1.value - (before?[keyPath: path][$1.key] ?? 0), 0) / seconds
      }
    }
    prompt = rate(\.promptTokens)
    generation = rate(\.generationTokens)
    steps = rate(\.steps)
    preemptions = rate(\.preemptions)
    read = rates(\.readBytes)
    spilled = rates(\.spilledBytes)
    for worker in now.workers {
      let old = before?.workers.first { $0.name == worker.name }
      busy[worker.name] = max(worker.stepSeconds - (old?.stepSeconds ?? 0), 0) / seconds
    }
    let queried = rate(\.queriedTokens)
    if queried > 0 { hitShare = rates(\.hitTokens).mapValues { min($0 / queried, 1) } }
  }
}
