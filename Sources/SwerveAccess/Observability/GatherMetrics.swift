import SwerveCore

/// Families of weights that are fetched for each step. Without such weights there are no series.
struct GatherMetrics: Sendable {
  private let registry: PrometheusRegistry

  init(registry: PrometheusRegistry) { self.registry = registry }

  func update(from snapshot: EngineStatistics) {
    guard let gather = snapshot.gather else { return }
    func counter(_ name: String, _ help: String) -> CounterMetric {
      registry.counter(name, help: help, labels: WorkerMetrics.worker)
    }
    counter("swerve_gather_stall_seconds", "Seconds that steps waited for weights which were still being fetched.")
      .set(total: Double(gather.stallNanoseconds) * 1e-9)
    counter("swerve_gather_bytes", "Bytes of weights fetched into the ring.").set(total: Double(gather.readBytes))
    if gather.fetchedBytes > 0 {
      counter("swerve_gather_fetched_bytes", "Bytes of weights that other ranks sent.")
        .set(total: Double(gather.fetchedBytes))
    }
    counter("swerve_gather_late_items", "Layers and pieces of the output head that were waited for.")
      .set(total: Double(gather.lateItems))
    counter("swerve_gather_wasted_items", "Layers and pieces that were fetched and not used.")
      .set(total: Double(gather.wastedItems))
    counter("swerve_gather_failed_items", "Layers and pieces that could not be fetched.")
      .set(total: Double(gather.failedItems))
  }
}
