import SwerveCore

/// Families of keys and values that go to other engines and come from them. Without such an engine there are no series.
struct TransferMetrics: Sendable {
  private let make: MetricFactory

  init(_ make: MetricFactory) { self.make = make }

  func update(from snapshot: EngineStatistics) {
    guard let transfer = snapshot.transfer else { return }
    func counter(_ name: String, _ help: String, _ direction: String, _ value: Double) {
      make.counter(name, help, [("direction", direction)]).set(total: value)
    }
    let countHelp = "Prompts whose blocks all went to another engine, or came from one."
    counter("swerve_kv_transfers", countHelp, "sent", Double(transfer.sent))
    counter("swerve_kv_transfers", countHelp, "received", Double(transfer.received))
    let bytesHelp = "Bytes of blocks on the wire, those of failed transfers included."
    counter("swerve_kv_transfer_bytes", bytesHelp, "sent", Double(transfer.sentBytes))
    counter("swerve_kv_transfer_bytes", bytesHelp, "received", Double(transfer.receivedBytes))
    for (direction, values) in [("sent", transfer.sendSeconds), ("received", transfer.receiveSeconds)] {
      make.histogram(
        "swerve_kv_transfer_seconds", "Seconds from a transfer's reservation to its last block.", key: "kv_transfer",
        CountedValues.seconds, [("direction", direction)]
      ).set(counts: values.counts, sum: values.sum)
    }
    for (reason, count) in transfer.failures {
      make.counter("swerve_kv_transfer_failures", "Transfers that failed, by reason.", [("reason", reason)])
        .set(total: Double(count))
    }
    make.counter(
      "swerve_kv_transfer_stale_messages", "Layers that came for a reservation which was over; they were not used."
    ).set(total: Double(transfer.staleMessages))
    make.counter(
      "swerve_kv_transfer_failed_requests", "Requests refused because their blocks did not come."
    ).set(total: Double(transfer.failedRequests))
    let placeHelp = "Places for blocks that come from other engines, by state."
    make.gauge("swerve_kv_transfer_blocks", placeHelp, [("state", "used")]).set(Int64(transfer.receiveBlocksUsed))
    make.gauge("swerve_kv_transfer_blocks", placeHelp, [("state", "free")])
      .set(Int64(transfer.receiveBlocks - transfer.receiveBlocksUsed))
    make.gauge("swerve_kv_transfer_held_bytes", "Bytes of blocks on their way out.").set(Int64(transfer.sendBytesHeld))
  }
}
