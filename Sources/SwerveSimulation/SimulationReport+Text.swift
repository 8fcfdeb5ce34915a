package import SwerveCore

extension SimulationReport {
  /// A table for people: one row a class, then the machine.
  package var text: String {
    let header = [
      "class", "arrived", "finished", "refused", "expired", "met", "goodput/s", "tok/s", "TTFT p50", "p99", "ITL p50",
      "p99",
      "TPOT p99", "preempted",
    ]
    let rows = classes.filter { $0.arrived > 0 }.map { row($0) }
    var widths = header.map(\.count)
    for row in rows { for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) } }
    var lines = ([header] + rows).map { row in
      zip(row, widths).enumerated().map { column, cell in
        let space = String(repeating: " ", count: cell.1 - cell.0.count)
        return column == 0 ? cell.0 + space : space + cell.0
      }.joined(separator: "  ")
    }
    lines.append("")
    lines.append(
      "\(Self.number(seconds)) s modelled, \(steps) steps, \(finished) requests, \(unfinished) unfinished; "
        + "\(computedTokens) tokens computed, \(prefixHitTokens) found in the prefix cache, \(preemptions) preemptions; "
        + "blocks used: mean \(Self.number(meanBlockUse * 100)) %, most \(blocksPeak) of \(blocksTotal)")
    if let refusal { lines.append("refused for its size: \(refusal)") }
    return lines.joined(separator: "\n")
  }

  private func row(_ entry: ClassReport) -> [String] {
    func milliseconds(_ seconds: Double) -> String { Self.number(seconds * 1e3) + " ms" }
    let span = max(seconds, 1e-9)
    return [
      entry.serviceClass.name, "\(entry.arrived)", "\(entry.finished)", "\(entry.refused)", "\(entry.expired)",
      entry.finished == 0 ? "-" : Self.number(100 * Double(entry.met) / Double(entry.finished)) + " %",
      Self.number(Double(entry.met) / span), Self.number(Double(entry.outputTokens) / span),
      milliseconds(entry.timeToFirstToken.percentile(50)), milliseconds(entry.timeToFirstToken.percentile(99)),
      milliseconds(entry.interToken.percentile(50)), milliseconds(entry.interToken.percentile(99)),
      milliseconds(entry.timePerToken.percentile(99)), "\(entry.preemptions)",
    ]
  }

  /// Three digits that matter.
  private static func number(_ value: Double) -> String {
    if abs(value) >= 100 || value == value.rounded() { return "\(Int(value.rounded()))" }
    let scale = abs(value) >= 10 ? 10.0 : abs(value) >= 1 ? 100 : 1000
    return "\((value * scale).rounded() / scale)"
  }

  /// Everything as JSON; times in seconds.
  package var json: JSON {
    let entries = classes.map { entry -> (String, JSON) in
      let times = [
        ("ttft", entry.timeToFirstToken), ("itl", entry.interToken), ("tpot", entry.timePerToken),
        ("e2el", entry.total),
      ]
      var members: [(String, JSON)] = [
        ("arrived", .int(entry.arrived)), ("finished", .int(entry.finished)), ("refused", .int(entry.refused)),
        ("expired", .int(entry.expired)), ("met", .int(entry.met)), ("met_ttft", .int(entry.metFirstToken)),
        ("met_tpot", .int(entry.metTokenTime)), ("prompt_tokens", .int(entry.promptTokens)),
        ("output_tokens", .int(entry.outputTokens)), ("preemptions", .int(entry.preemptions)),
        ("goodput", .double(Double(entry.met) / max(seconds, 1e-9))),
      ]
      for (name, histogram) in times {
        members.append(("mean_\(name)_s", .double(histogram.mean)))
        for rank in [50, 90, 99] {
          members.append(("p\(rank)_\(name)_s", .double(histogram.percentile(Double(rank)))))
        }
        members.append(("max_\(name)_s", .double(histogram.largest)))
      }
      return (entry.serviceClass.name, .object(JSONObject(members)))
    }
    return .object(
      JSONObject([
        ("seconds", .double(seconds)), ("steps", .int(steps)), ("computed_tokens", .int(computedTokens)),
        ("prefix_hit_tokens", .int(prefixHitTokens)), ("preemptions", .int(preemptions)),
        ("unfinished", .int(unfinished)), ("blocks_total", .int(blocksTotal)), ("blocks_peak", .int(blocksPeak)),
        ("mean_block_use", .double(meanBlockUse)), ("classes", .object(JSONObject(entries))),
      ]))
  }
}
