internal import CSwerveKernels
internal import CSwervePlatform

/// Pinned kernel threads; the caller of `run` is worker 0. Workers spin briefly between tasks when the cores are ours,
/// and sleep at once when other processes want them. A worker that does not come in time is not waited for.
package final class KernelPool: @unchecked Sendable {
  // Sendable: the C pool takes one caller at a time behind its own lock and shares nothing else.

  private let pool: OpaquePointer

  /// Workers, the caller included. ≥ 1.
  package let threadCount: Int
  /// Where the workers are; nil = unbound to memory nodes.
  package let plan: WorkerPlan?
  /// The CPUs meant for the workers, bound to them or not, where somebody said which.
  let cpus: [Int]?

  /// CPUs that the calling thread may run on: its affinity.
  package static var reachableCPUs: [Int32] { list(swerve_allowed_cpus) }

  /// CPUs that the process might run on when it began, whatever the calling thread keeps to since: what other threads and
  /// processes can be given.
  package static var processCPUs: [Int32] { list(swerve_process_cpus) }

  private static func list(_ read: (UnsafeMutablePointer<Int32>?, Int32) -> Int32) -> [Int32] {
    var cpus = [Int32](repeating: 0, count: 4096)
    let count = min(Int(read(&cpus, 4096)), 4096)
    return Array(cpus.prefix(count))
  }

  /// CPUs' worth of time that the control group grants; nil where it sets no limit.
  package static var quotaCPUs: Int? {
    let quota = Int(swerve_quota_cpus())
    return quota > 0 ? quota : nil
  }

  /// As many of the reachable CPUs as the quota lets run at a time, the first ones.
  package static var allowedCPUs: [Int32] { granted(reachableCPUs) }

  /// As many of these CPUs as the quota lets run at a time, the first ones.
  package static func granted(_ cpus: [Int32]) -> [Int32] { Array(cpus.prefix(quotaCPUs ?? cpus.count)) }

  /// - Parameters:
  ///   - threadCount: 1 ... 4,096; nil: one a CPU that the process may use.
  ///   - pinned: binds worker `i` to the i-th allowed CPU, where there are enough of them.
  ///   - given: the CPUs meant; nil: all that the process may use.
  ///   - spinMicroseconds: how long an idle worker waits before it sleeps.
  package convenience init(
    threadCount: Int?, pinned: Bool, cpus given: [Int]? = nil, spinMicroseconds: Int
  ) throws(HardwareError) {
    let cpus = given?.map(Int32.init) ?? Self.allowedCPUs
    let count = threadCount ?? cpus.count
    try self.init(
      count, cpus: pinned && count <= cpus.count ? cpus : nil, plan: nil, given: given,
      spinMicroseconds: spinMicroseconds)
  }

  /// Workers bound to CPUs and memory nodes as a plan says.
  ///
  /// - Parameter pinned: false leaves the threads wherever the system puts them: for simulations of other machines.
  package convenience init(
    plan: WorkerPlan, pinned: Bool = true, spinMicroseconds: Int
  ) throws(HardwareError) {
    try self.init(
      plan.cpus.count, cpus: pinned ? plan.cpus.map(Int32.init) : nil, plan: plan, given: plan.cpus,
      spinMicroseconds: spinMicroseconds)
  }

  private init(
    _ count: Int, cpus: [Int32]?, plan: WorkerPlan?, given: [Int]?, spinMicroseconds: Int
  ) throws(HardwareError) {
    guard (1...4096).contains(count) else { throw .threadsUnavailable(requested: count) }
    let spin = UInt64(max(0, spinMicroseconds)) * 1000
    // The C pool copies both lists.
    let made = withOptionalPointer(cpus) { cpus in
      withOptionalPointer(plan?.workerNodes.map(Int32.init)) { nodes in
        swerve_pool_create(Int32(count), cpus, nodes, scratchBytes, spin)
      }
    }
    guard let made else { throw .threadsUnavailable(requested: count) }
    self.pool = made
    self.threadCount = count
    self.plan = plan
    self.cpus = given
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

extension KernelPool {
  /// Sends idle workers to sleep at once, until the next run: for a thread about to wait for another process that needs
  /// the same cores.
  package func rest() { swerve_pool_rest(pool) }
  /// Whether idle workers spin now: not while other processes want the CPUs.
  package var spins: Bool { swerve_pool_spins(pool) }
  /// Workers that sleep now: take no CPU time until the next run.
  package var sleeperCount: Int { Int(swerve_pool_sleepers(pool)) }

  /// The units of a run that belong to each memory node, in proportion to its workers. A worker takes those of its own
  /// node first and then what others have left.
  package func nodeRanges(units: Int) -> [Range<Int>] {
    (0..<Int32(plan?.nodeIDs.count ?? 1)).map {
      swerve_pool_node_begin(pool, units, $0)..<swerve_pool_node_begin(pool, units, $0 + 1)
    }
  }

  /// Asks for the memory of `units` equal parts to be taken, at first touch, from the nodes whose workers will read them.
  /// Nothing happens without nodes.
  ///
  /// - Returns: false where the system refused; the memory works all the same.
  func place(_ memory: UnsafeMutableRawPointer, units: Int, unitBytes: Int) -> Bool {
    guard let plan, plan.nodeIDs.count > 1 else { return true }
    var isPlaced = true
    for (node, range) in nodeRanges(units: units).enumerated() {
      isPlaced =
        swerve_pages_prefer_node(
          memory + range.lowerBound * unitBytes, range.count * unitBytes, Int32(plan.nodeIDs[node])) && isPlaced
    }
    return isPlaced
  }

  /// Runs nothing over all workers `count` times: the price of a hand-over and its end.
  package func runEmpty(_ count: Int) {
    for _ in 0..<count {
      run({ _, _, _, _ in }, (), units: threadCount)
    }
  }
}

private func withOptionalPointer<Result>(
  _ numbers: [Int32]?, _ body: (UnsafePointer<Int32>?) -> Result
) -> Result {
  guard let numbers else { return body(nil) }
  return numbers.withUnsafeBufferPointer { body($0.baseAddress) }
}

/// Scratch of one worker: `SWERVE_SCRATCH_BYTES` and `SWERVE_PANEL_BYTES`, macros with casts that Swift does not import.
private let scratchBytes = 1 << 20
