package import SwerveCore
import SwerveTiers

extension BlockTiers {
  /// Gauges and counters now. Takes the file tier's lock once.
  package var statistics: TierStatistics {
    var all = totals
    all.hostBlockBytes = host.blockBytes
    all.hostBlocks = host.blockCount
    all.hostBlocksUsed = host.usedCount
    all.hostBlocksPinned = host.pinnedCount
    all.hostEvictions = host.statistics.evictions
    if host.statistics.damages > 0 { all.verifyFailures["host-memory"] = host.statistics.damages }
    guard let files else { return all }
    let counted = files.statistics
    all.fileState = files.healthState.word
    all.fileBlocks = files.blockCount
    all.fileBytes = files.usedBytes
    all.fileCapacityBytes = files.configuration.capacityBytes
    all.fileEvictions = counted.evictions
    for (reason, count) in counted.verifyFailures { all.verifyFailures[reason.word, default: 0] += count }
    return all
  }

  /// The statistics if they changed since they were last taken.
  package func takeStatistics() -> TierStatistics? {
    if !isChanged || !keepsBlocks { return nil }
    isChanged = false
    return statistics
  }
}

extension BlockTiers {
  /// For the start log: what there is, and what was found.
  package var description: String {
    var parts = ["host \(host.blockCount) blocks (\(ByteText.binary(host.blockCount * host.blockBytes)))"]
    if let files {
      let found = files.statistics
      parts.append(
        "files \(ByteText.binary(files.configuration.capacityBytes)) in \(files.configuration.folder), \(found.found) blocks "
          + "found" + (found.foreign > 0 ? " and \(found.foreign) of other models or keys" : "")
          + (files.configuration.isReadOnly ? ", read only" : ""))
    }
    return "KV tiers below the device: " + parts.joined(separator: "; ")
  }
}

extension TierState {
  /// As metrics say it.
  var word: String {
    switch self {
    case .healthy: "healthy"
    case .readOnly: "read-only"
    case .off: "off"
    }
  }
}

extension MissReason {
  /// As metrics say it.
  var word: String {
    switch self {
    case .absent: "absent"
    case .noKey: "no-key"
    case .foreignKey: "foreign-key"
    case .damaged: "damaged"
    case .stale: "stale"
    case .otherModel: "other-model"
    case .otherShape: "other-shape"
    case .otherBlock: "other-block"
    case .failure: "failure"
    }
  }
}
