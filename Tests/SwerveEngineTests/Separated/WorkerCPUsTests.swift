import SwerveCore
import SwerveEngine
import SwerveHardware
import Testing

/// Who computes where, on hosts of other sizes than this one.
@Suite struct WorkerCPUsTests {
  private func cpus(
    _ parameter: [Int]? = nil, _ data: [[Int]?] = [], threads: Int? = nil, count: Int = 1, local: Int? = nil,
    of host: Int
  ) throws -> WorkerCPUs {
    let all = Array(0..<host)
    return try WorkerCPUs(
      parameter: parameter, data: data, threads: threads, count: count, local: local ?? count, reachable: all,
      allowed: all)
  }

  @Test func `with all threads for each the CPUs are shared`() throws {
    let cpus = try cpus(of: 8)
    #expect(cpus.parameter == nil && cpus.data.isEmpty && cpus.isShared)
  }

  @Test func `where threads leave room each worker has CPUs of its own`() throws {
    let two = try cpus(threads: 4, of: 8)
    #expect(two.parameter == [0, 1, 2, 3] && two.data == [[4, 5, 6, 7]] && !two.isShared)
    let three = try cpus(threads: 4, count: 2, of: 8)
    #expect(three.parameter == nil && three.isShared, "twelve threads on eight CPUs")
    let remote = try cpus(threads: 4, count: 3, local: 1, of: 8)
    #expect(remote.parameter == [0, 1, 2, 3] && remote.data == [nil, nil, [4, 5, 6, 7]] && !remote.isShared)
    let single = try cpus(threads: 1, of: 2)
    #expect(single.parameter == nil && !single.isShared, "one thread each: the system finds them room")
  }

  @Test func `named ones are kept`() throws {
    let apart = try cpus([0, 1], [[2], [3]], count: 2, of: 4)
    #expect(apart == (try cpus([0, 1], [[2], [3]], threads: 2, count: 2, of: 4)))
    #expect(apart.parameter == [0, 1] && apart.data == [[2], [3]] && !apart.isShared)
    #expect(try cpus([0, 1], [[1]], of: 4).isShared)
    #expect(try cpus([0, 1], [nil], threads: 2, of: 4).isShared == false, "two are left for it")
    #expect(try cpus([0, 1, 2], [nil], threads: 2, of: 4).isShared)
  }

  @Test func `one that cannot be reached is named`() {
    let error = #expect(throws: EngineStartError.self) { try cpus([0, 9], [[1, 7]], of: 4) }
    #expect(
      error?.description.contains("--parameter-devices names CPU 9, which this process may not use; it may use 0-3.")
        == true)
    #expect(error?.description.contains("--data-devices names CPU 7") == true)
  }
}
