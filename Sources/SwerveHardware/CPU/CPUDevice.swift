// The CPUs as a device: threads, kernel sets, packing, the operations' entry into C. It must not decide what is computed
// or know a model.
// Start with CPUDevice below, then KernelPool.swift and KernelSet.swift.

internal import CSwerveKernels
internal import CSwervePlatform
internal import SwerveCore
internal import Synchronization

/// How to use the CPUs. Read from flags by the command; nothing here reads the environment.
package struct CPUConfiguration: Sendable, Hashable {
  /// Kernel threads, the caller included; nil: one for each CPU the process may use.
  package var threadCount: Int?
  /// Bind each worker to a CPU. Ignored where there are fewer CPUs than threads.
  package var isPinned = true
  /// nil: the best this CPU has.
  package var kernels: KernelSet?
  /// How long an idle worker spins before it sleeps; it sleeps at once while other processes want the CPUs.
  package var spinMicroseconds = 50
  /// CPUs to use, worker `i` the i-th; nil: the first allowed ones. Ignored with `numa`.
  package var cpus: [Int]?
  /// Binds workers to memory nodes and weights to the nodes of the workers that read them; nil: neither.
  package var numa: NUMABinding?

  package init(
    threadCount: Int? = nil, isPinned: Bool = true, kernels: KernelSet? = nil, spinMicroseconds: Int = 50,
    numa: NUMABinding? = nil, cpus: [Int]? = nil
  ) {
    self.numa = numa
    self.cpus = cpus
    self.threadCount = threadCount
    self.isPinned = isPinned
    self.kernels = kernels
    self.spinMicroseconds = spinMicroseconds
  }
}

/// The CPUs and their memory as a device: it allocates, packs weights and runs the operations of `Operations.swift`.
///
/// Operations may be called from any thread; two calls at once wait for each other, and both must not touch the same
/// memory. Meant for one engine thread.
package final class CPUDevice: Sendable {
  package let pool: KernelPool
  /// The set in use.
  package let kernelSet: KernelSet
  package let memory = MemoryLedger()
  nonisolated(unsafe) let kernels: OpaquePointer
  let refusedPlacements = Atomic<Int>(0)

  package convenience init(configuration: CPUConfiguration = .init()) throws(HardwareError) {
    let set = configuration.kernels ?? .best
    // Before threads are started.
    guard set.table != nil else { throw .unsupportedKernels(set, available: KernelSet.available) }
    try self.init(pool: Self.pool(configuration), kernels: set)
  }

  /// Over a pool that exists: for simulations of other machines.
  package init(pool: KernelPool, kernels set: KernelSet) throws(HardwareError) {
    guard let table = set.table else { throw .unsupportedKernels(set, available: KernelSet.available) }
    self.kernelSet = set
    self.kernels = table
    self.pool = pool
  }

  private static func pool(_ configuration: CPUConfiguration) throws(HardwareError) -> KernelPool {
    guard let numa = configuration.numa else {
      return try KernelPool(
        threadCount: configuration.threadCount, pinned: configuration.isPinned, cpus: configuration.cpus,
        spinMicroseconds: configuration.spinMicroseconds)
    }
    let plan = try WorkerPlan(
      numa, topology: NUMATopology(), allowed: KernelPool.reachableCPUs.map(Int.init), quota: KernelPool.quotaCPUs,
      threadCount: configuration.threadCount)
    return try KernelPool(plan: plan, spinMicroseconds: configuration.spinMicroseconds)
  }

  package var threadCount: Int { pool.threadCount }

  /// The device and the CPUs its threads are meant for: `cpu:0-3`.
  package var name: String {
    let cpus = pool.cpus ?? KernelPool.allowedCPUs.prefix(threadCount).map(Int.init)
    return "cpu:" + CPUList.text(cpus.prefix(threadCount).sorted())
  }

  /// Matrices whose memory the system would not bind to the nodes that read them (some containers forbid it).
  package var refusedPlacementCount: Int { refusedPlacements.load(ordering: .relaxed) }

  /// Bytes allocated through this device and not yet given back.
  package var memoryInUseBytes: Int { memory.bytesInUse }

  /// Zeroed memory, in huge pages where it is that large. Pages are taken from the system at first touch.
  package func allocate(byteCount: Int) throws(HardwareError) -> DeviceBuffer {
    try DeviceBuffer(byteCount: byteCount, ledger: memory)
  }

  /// Keeps the calling thread, worker 0, and those that it starts later on the CPUs that the device was given; nothing
  /// happens where it was given none. For the thread that computes, once.
  package func confineCallingThread() {
    guard let cpus = pool.cpus?.map(Int32.init) else { return }
    _ = swerve_thread_confine(cpus, Int32(cpus.count))
  }
}

extension CPUDevice {
  /// Lets the calling thread run wherever the process might when it began, whoever started it.
  package static func releaseCallingThread() { swerve_thread_unconfine() }

  /// Keeps the calling thread, worker 0, on one of the device's CPUs. Two processes that take turns on the same CPUs, neither
  /// computing while the other does, hand over in a third of the time where both hand over on the same CPU: none has
  /// to be woken from its idle sleep. Threads that it starts later run where it could before.
  ///
  /// - Parameter place: of the CPU among the device's, counted round.
  package func confineCallingThread(to place: Int) {
    let cpus = pool.cpus?.map(Int32.init) ?? KernelPool.allowedCPUs
    if cpus.isEmpty { return }
    _ = swerve_thread_keep(cpus[place % cpus.count])
  }
}

extension ElementType {
  /// The type's number in C.
  var kernelType: Int32 {
    switch self {
    case .float32: 0
    case .bfloat16: 1
    case .float16: 2
    }
  }
}
