import SwerveCore

/// The request journal. Without one there is not a series.
struct JournalMetrics: Sendable {
  let registry: PrometheusRegistry

  func update(from snapshot: EngineStatistics) {
    guard let journal = snapshot.journal else { return }
    registry.gauge("swerve_journal_on", help: "1 while requests are written to the journal, 0 after it failed.")
      .set(journal.isOn ? 1.0 : 0.0)
    registry.gauge("swerve_journal_bytes", help: "Bytes of the journal's file.").set(Int64(journal.writtenBytes))
    registry.gauge("swerve_journal_requests", help: "Requests that the journal knows.").set(Int64(journal.requests))
    registry.counter("swerve_journal_resumed", help: "Requests that went on with what the journal knew of them.")
      .set(total: Double(journal.resumed))
    registry.counter("swerve_journal_replayed", help: "Whole answers that were given again.")
      .set(total: Double(journal.replayed))
  }
}
