import Glibc
import SwerveCore
import SwerveHardware
import Synchronization
import Testing

@Suite struct KernelPoolTests {
  @Test(arguments: [1, 2, 3, 7], [0, 30])
  func `Every unit of many short tasks is done once`(_ threads: Int, _ spin: Int) throws {
    let device = try CPUDevice(
      configuration: .init(threadCount: threads, isPinned: false, kernels: .scalar, spinMicroseconds: spin))
    #expect(device.threadCount == threads)
    // Adding is not idempotent: a unit done twice or never shows.
    let residual = Rows([Float](repeating: 0, count: 257 * 64), .float32, rows: 257, columns: 64)
    let delta = Rows([Float](repeating: 1, count: 257 * 64), .float32, rows: 257, columns: 64)
    let weight = Rows([Float](repeating: 1, count: 64), .float32, rows: 1, columns: 64)
    let y = Rows(.float32, 257, 64)
    let rounds = 2000
    for _ in 0..<rounds {
      device.addRMSNorm(
        residual: residual.tensor, delta: delta.tensor, weight: weight.tensor, epsilon: 1e-6, into: y.tensor)
    }
    for row in 0..<257 { try #require(residual.row(row).allSatisfy { $0 == Float(rounds) }) }
  }

  @Test func `Callers on several threads wait for each other`() async throws {
    let device = try device(.scalar, threads: 2)
    await withTaskGroup(of: Bool.self) { group in
      for task in 0..<4 {
        group.addTask {
          let x = Rows([Float](repeating: Float(task), count: 600 * 40), .float32, rows: 600, columns: 40)
          let y = Rows(.bfloat16, 600, 40)
          for _ in 0..<200 { device.convert(x.tensor, into: y.tensor) }
          return (0..<600).allSatisfy { y.row($0).allSatisfy { $0 == Float(task) } }
        }
      }
      for await isRight in group { #expect(isRight) }
    }
  }

  @Test func `Impossible thread counts and kernel sets are refused with a sentence`() throws {
    #expect(throws: HardwareError.threadsUnavailable(requested: 0)) {
      try CPUDevice(configuration: .init(threadCount: 0))
    }
    let missing = Set(KernelSet.allCases).subtracting(KernelSet.available)
    for set in missing {
      do {
        _ = try CPUDevice(configuration: .init(threadCount: 1, kernels: set))
        Issue.record("\(set) is not available and was accepted")
      } catch { #expect("\(error)".contains("scalar")) }
    }
    #expect(KernelSet.available.contains(.scalar))
    #expect(!KernelPool.allowedCPUs.isEmpty)
  }

  @Test func `A pinned pool works`() throws {
    let device = try CPUDevice(configuration: .init(kernels: .scalar))
    let x = Rows([Float](repeating: 2, count: 5000 * 8), .float32, rows: 5000, columns: 8)
    let y = Rows(.float16, 5000, 8)
    device.convert(x.tensor, into: y.tensor)
    #expect(y[4999, 7] == 2)
  }

  /// Waits as long as it takes: a test that times out elsewhere says what did not happen.
  private func wait(for what: String, _ holds: () -> Bool) {
    for _ in 0..<30_000 where !holds() { usleep(1000) }
    #expect(holds(), "\(what)")
  }

  @Test func `Idle workers sleep when they have spun long enough`() throws {
    for spin in [0, 200] {
      let pool = try KernelPool(threadCount: 3, pinned: false, spinMicroseconds: spin)
      pool.runEmpty(10)
      wait(for: "both workers asleep") { pool.sleeperCount == 2 }
      pool.runEmpty(1)
      wait(for: "both workers asleep again") { pool.sleeperCount == 2 }
    }
  }

  @Test func `Workers that would share CPUs sleep at once, however long they may spin`() throws {
    let threads = 2 * Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    let pool = try KernelPool(threadCount: threads, pinned: false, spinMicroseconds: 3_600_000_000)
    pool.runEmpty(3)
    #expect(!pool.spins)
    wait(for: "all workers asleep") { pool.sleeperCount == threads - 1 }
  }

  @Test func `A pool stops spinning when other threads want the CPUs`() throws {
    let pool = try KernelPool(threadCount: 2, pinned: false, spinMicroseconds: 3_600_000_000)
    let isOver = UnsafeMutablePointer<Atomic<Bool>>.allocate(capacity: 1)
    isOver.initialize(to: Atomic(false))
    var others = [pthread_t](repeating: 0, count: 3 * Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    for index in others.indices {
      let started = pthread_create(
        &others[index], nil,
        { flag in
          let isOver = flag?.assumingMemoryBound(to: Atomic<Bool>.self)
          while isOver?.pointee.load(ordering: .relaxed) == false {}
          return nil
        }, isOver)
      try #require(started == 0)
    }
    // A run looks at the machine once a second.
    wait(for: "parked") {
      pool.runEmpty(16)
      return !pool.spins && pool.sleeperCount == 1
    }
    isOver.pointee.store(true, ordering: .relaxed)
    for other in others { pthread_join(other, nil) }
    isOver.deinitialize(count: 1)
    isOver.deallocate()
  }
}
