extension CPUDevice {
  /// Runs `task` for units 0 ..< `units`, in ranges, on as many threads as there are, and returns when all are done: host
  /// work that is not arithmetic of the operations list, such as the sampler's per-row choices. No allocation.
  ///
  /// The task is a C function (a Swift closure that captures nothing): it gets a pointer to `job` as its first argument,
  /// then the range. Units must not write the same memory.
  package func runLanes(
    _ units: Int, job: UnsafeRawPointer,
    task: @convention(c) (UnsafeRawPointer?, Int, Int, UnsafeMutableRawPointer?) -> Void
  ) {
    pool.run(task, job, units: units)
  }
}
