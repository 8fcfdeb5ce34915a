import SwerveCore

/// Evaluates every placement that a machine could have, and says which one is best and why.
package struct Planner: Sendable {
  package let cost: CostModel
  package let candidates: [Estimate]
  /// Place of the best one among `candidates`; nil where none fits.
  package let bestIndex: Int?

  package init(_ cost: CostModel) {
    self.cost = cost
    let candidates = Self.placements(cost).map { cost.estimate($0) }
    self.candidates = candidates
    bestIndex = candidates.indices.filter { candidates[$0].refusal == nil }
      .max { candidates[$0].tokensPerSecond < candidates[$1].tokensPerSecond }
  }

  package var best: Estimate? { bestIndex.map { candidates[$0] } }

  /// Simplest first: among equals the first one stays.
  static func placements(_ cost: CostModel) -> [Placement] {
    let devices = cost.machine.devices.count
    let counts =
      devices == 1 ? [2] : [2, 4, 8].filter { $0 <= devices } + ([2, 4, 8].contains(devices) ? [] : [devices])
    var all: [Placement] = [.unified]
    all += counts.map { .tensor($0) }
    all += counts.map { .pipeline($0) }
    all += (devices == 1 ? [1] : Array(Set([1, devices - 1])).sorted()).map { .separated(dataWorkers: $0) }
    all += [.gathered(.nvme, depth: 2), .gathered(.host, depth: 2)]
    all.append(.disaggregated(prefill: 1, decode: max(1, devices - 1)))
    return all
  }

  /// The estimate of a placement, of the list or not.
  package func estimate(_ placement: Placement) -> Estimate {
    candidates.first { $0.placement == placement } ?? cost.estimate(placement)
  }

  /// One sentence where a choice is predicted to be more than a tenth slower than the best one, or not to fit.
  package func warning(for choice: Placement) -> String? {
    let chosen = estimate(choice)
    if let refusal = chosen.refusal {
      return "--placement \(choice.title) is predicted not to fit: \(refusal)"
        + (best.map { "; \($0.placement.title) would" } ?? "")
    }
    guard let best, best.placement != choice, chosen.tokensPerSecond < 0.9 * best.tokensPerSecond else { return nil }
    let loss = 100 * (1 - chosen.tokensPerSecond / best.tokensPerSecond)
    return "--placement \(choice.title) is predicted to be \(Int(loss.rounded())) % slower than \(best.placement.title)"
  }

  /// Why the best one is: one sentence.
  package var reason: String {
    guard let best else {
      return "no placement fits: " + (candidates.first?.refusal ?? "there is no device")
    }
    let unified = estimate(.unified)
    if best.placement == .unified { return "everything fits one device, and no other placement is predicted faster" }
    if let refusal = unified.refusal { return "unified does not fit (\(refusal)), and this is the fastest that does" }
    let gain = best.tokensPerSecond / unified.tokensPerSecond
    let more = Double(best.blocks) / Double(max(unified.blocks, 1))
    return "\(Decimals.fixed(gain, 2)) times the tokens of unified, with \(Decimals.fixed(more, 1)) times its blocks"
  }
}
