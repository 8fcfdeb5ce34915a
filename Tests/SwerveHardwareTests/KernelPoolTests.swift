import Glibc
import SwerveCore
import SwerveHardware
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
}
