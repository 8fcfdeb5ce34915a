import SwerveCore

/// Plans as lines for people.
package enum PlacementText {
  /// What was measured or described.
  package static func machine(_ machine: MachineDescription) -> [String] {
    var lines = machine.devices.prefix(8).map { device in
      "\(device.name): \(Decimals.bytes(device.memoryBytes)) usable, reads \(rate(device.bytesPerSecond)), "
        + "\(Decimals.fixed(device.operationsPerSecond / 1e9, 0)) GFLOP/s"
    }
    if machine.devices.count > 8 { lines.append("… \(machine.devices.count) devices in all") }
    lines.append(
      "link: \(Decimals.fixed(machine.link.latencySeconds * 1e6, 1)) us, \(rate(machine.link.bytesPerSecond))")
    lines.append(
      "weights: \(machine.diskBytesPerSecond.map { rate($0) } ?? "unknown") from disk, "
        + "\(rate(machine.hostBytesPerSecond)) from host memory")
    if let warning = machine.busyWarning { lines.append(warning) }
    return lines
  }

  private static func rate(_ bytesPerSecond: Double) -> String { Decimals.fixed(bytesPerSecond / 1e9, 2) + " GB/s" }

  /// One row a candidate, the best one marked.
  package static func table(_ planner: Planner) -> [String] {
    let header = ["placement", "decode step", "prefill step", "weights", "KV tokens", "running", "tok/s", ""]
    let rows = planner.candidates.enumerated().map { index, estimate -> [String] in
      if let refusal = estimate.refusal { return [estimate.placement.title, "", "", "", "", "", "", refusal] }
      return [
        estimate.placement.title, milliseconds(estimate.decodeSeconds), milliseconds(estimate.prefillSeconds),
        Decimals.bytes(estimate.parameterBytes), "\(estimate.blocks * planner.cost.load.blockTokens)",
        "\(estimate.sequences)", Decimals.fixed(estimate.tokensPerSecond, 1),
        index == planner.bestIndex ? "<- best" : "",
      ]
    }
    return aligned([header] + rows)
  }

  /// The worker, its role, and what it holds.
  package static func roles(_ document: PlacementDocument) -> [String] {
    aligned(
      [["worker", "role", "device", "layers", "query heads", "weights", "tiers"]]
        + document.roles.map { role in
          [
            role.worker, role.role, role.device, "\(role.layers.lowerBound)..<\(role.layers.upperBound)",
            "\(role.queryHeads.lowerBound)..<\(role.queryHeads.upperBound)", Decimals.bytes(role.parameterBytes),
            role.tiers.isEmpty ? "-" : role.tiers.joined(separator: ", "),
          ]
        })
  }

  private static func milliseconds(_ seconds: Double) -> String { Decimals.fixed(seconds * 1e3, 2) + " ms" }

  private static func aligned(_ rows: [[String]]) -> [String] {
    guard let first = rows.first else { return [] }
    let widths = first.indices.map { column in rows.reduce(0) { max($0, $1[column].count) } }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        line += cell + String(repeating: " ", count: widths[column] - cell.count + 2)
      }
      while line.hasSuffix(" ") { line.removeLast() }
      return line
    }
  }
}
