internal import CSwerveKernels
internal import CSwervePlatform

/// Pinned kernel threads; the caller of `run` is worker 0. Workers spin briefly between tasks when the cores are ours,
/// and sleep at once when other processes want them. A worker that does not come in time is not waited for.
package final class KernelPool: @unchecked Sendable {
  // Sendable: the C pool takes one caller at a time behind its own lock and shares nothing else.

  private let pool: OpaquePointer

  /// Workers, the caller included. ≥ 1.
  package let threadCount: Int

  /// CPUs that the process may use: its affinity, cut to the control group's quota.
  package static var allowedCPUs: [Int32] {
    var cpus = [Int32](repeating: 0, count: 4096)
    let count = min(Int(swerve_allowed_cpus(&cpus, 4096)), 4096)
    let quota = Int(swerve_quota_cpus())
    return Array(cpus.prefix(quota > 0 ? min(count, quota) : count))
  }

  /// - Parameters:
  ///   - threadCount: 1 ... 4,096; nil: one a CPU that the process may use.
  ///   - pinned: binds worker `i` to the i-th allowed CPU, where there are enough of them.
  ///   - spinMicroseconds: how long an idle worker waits before it sleeps.
  package init(threadCount: Int?, pinned: Bool, spinMicroseconds: Int) throws(HardwareError) {
    let cpus = Self.allowedCPUs
    let count = threadCount ?? cpus.count
    guard (1...4096).contains(count) else { throw .threadsUnavailable(requested: count) }
    let spin = UInt64(max(0, spinMicroseconds)) * 1000
    let made =
      pinned && count <= cpus.count
      ? cpus.withUnsafeBufferPointer {
        swerve_pool_create(Int32(count), $0.baseAddress, scratchBytes, spin)
      }
      : swerve_pool_create(Int32(count), nil, scratchBytes, spin)
    guard let made else { throw .threadsUnavailable(requested: count) }
    self.pool = made
    self.threadCount = count
  }

  deinit { swerve_pool_destroy(pool) }

  /// Computes `units` of `task`, in pieces of multiples of `grain`. No allocation; returns when all is done.
  @inline(__always)
  func run<Job>(
    _ task: @convention(c) (UnsafeRawPointer?, Int, Int, UnsafeMutableRawPointer?) -> Void, _ job: Job, units: Int,
    grain: Int = 1
  ) {
    withUnsafePointer(to: job) { swerve_pool_run(pool, task, UnsafeRawPointer($0), units, grain) }
  }
}

/// Scratch of one worker: `SWERVE_SCRATCH_BYTES` and `SWERVE_PANEL_BYTES`, macros with casts that Swift does not import.
private let scratchBytes = 768 << 10
