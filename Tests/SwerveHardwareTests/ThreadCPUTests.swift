import CSwervePlatform
import SwerveHardware
import Synchronization
import Testing

/// Where threads run that others start.
@Suite(.enabled(if: KernelPool.reachableCPUs.count > 1)) struct ThreadCPUTests {
  /// CPUs that a chain of threads could use, each started by the one before.
  private final class Chain: Sendable {
    let found = Mutex<[[Int32]]>([])
    /// The second one keeps to one CPU, in one way or the other.
    let confines: Bool
    let ended = Atomic<Bool>(false)

    init(confines: Bool) { self.confines = confines }

    func start() {
      let code = swerve_thread_start(
        "chain", 1 << 18, { Unmanaged<Chain>.fromOpaque($0!).takeRetainedValue().run() },
        Unmanaged.passRetained(self).toOpaque())
      if code != 0 { ended.store(true, ordering: .releasing) }
    }

    private func run() {
      let cpus = KernelPool.reachableCPUs
      let count = found.withLock { found in
        found.append(cpus)
        return found.count
      }
      if count == 3 { return ended.store(true, ordering: .releasing) }
      if count == 1 {
        _ = confines ? swerve_thread_confine([cpus[1]], 1) : swerve_thread_keep(cpus[1])
        let own = KernelPool.reachableCPUs
        found.withLock { $0.append(own) }
      }
      start()
    }
  }

  private func chain(confines: Bool) async throws -> [[Int32]] {
    let chain = Chain(confines: confines)
    chain.start()
    while !chain.ended.load(ordering: .acquiring) { try await Task.sleep(for: .milliseconds(1)) }
    return chain.found.withLock { $0 }
  }

  @Test func `A thread that keeps to one CPU does not hand that on`() async throws {
    let all = KernelPool.reachableCPUs
    #expect(try await chain(confines: false) == [all, [all[1]], all])
  }

  @Test func `One that is confined does`() async throws {
    let all = KernelPool.reachableCPUs
    #expect(try await chain(confines: true) == [all, [all[1]], [all[1]]])
  }
}
