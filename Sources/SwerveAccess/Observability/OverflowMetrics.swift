import SwerveCore

/// Families of running sequences' blocks below the device, read from the engine's snapshot. They have series once an
/// engine with such places was seen.
struct OverflowMetrics: Sendable {
  private let make: MetricFactory

  init(_ make: MetricFactory) { self.make = make }

  func update(from snapshot: EngineStatistics) {
    let overflow = snapshot.overflow
    guard overflow.hostBlocks + overflow.storeBlocks > 0 else { return }
    for (tier, used, total) in [
      ("host", overflow.hostBlocksUsed, overflow.hostBlocks), ("nvme", overflow.storeBlocksUsed, overflow.storeBlocks),
    ] where total > 0 {
      for (state, count) in [("used", used), ("free", total - used)] {
        make.gauge(
          "swerve_kv_running_blocks", "Places below the device for KV blocks of running sequences, by tier and state.",
          WorkerMetrics.keeper(snapshot) + [("tier", tier), ("state", state)]
        ).set(Int64(count))
      }
    }
    for (tier, count) in [("host", overflow.blocksToHost), ("nvme", overflow.blocksToStore)] {
      make.counter(
        "swerve_kv_running_moves", "KV blocks of running sequences that left the device, by the tier they went to.",
        [("to", tier)]
      ).set(total: Double(count))
    }
    for (direction, bytes) in [("read", overflow.traffic.readBytes), ("write", overflow.traffic.writtenBytes)] {
      make.counter(
        "swerve_kv_overflow_bytes", "Bytes that steps read from the overflow file, and that were written there.",
        [("direction", direction)]
      ).set(total: Double(bytes))
    }
    for (direction, count) in [("read", overflow.traffic.failedReads), ("write", overflow.traffic.failedWrites)] {
      make.counter(
        "swerve_kv_overflow_failures", "Pieces that the overflow file lost, by when that was seen.",
        [("direction", direction)]
      ).set(total: Double(count))
    }
    make.counter(
      "swerve_recoveries", "Sequences computed again because something was lost, by cause.", [("cause", "block")]
    )
    .set(total: Double(overflow.recoveries))
  }
}
