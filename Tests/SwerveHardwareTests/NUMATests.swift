import Glibc
import SwerveCore
import SwerveHardware
import Testing

@Suite struct NUMATests {
  /// Four nodes of sixteen CPUs, as a two-socket machine in halves has them: the second threads of cores come last.
  private static let large = NUMATopology(
    nodes: (0..<4).map { node in
      .init(id: node, cpus: Array(node * 8..<node * 8 + 8) + Array(32 + node * 8..<40 + node * 8))
    })

  @Test func `Lists of CPUs are read as the system writes them`() {
    #expect(CPUList.parse("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11])
    #expect(CPUList.parse("5 3,3") == [3, 5])
    #expect(CPUList.parse("") == [])
    for wrong in ["a", "1-", "-1", "3-1", "1-2-3", "0-99999999", "1.5", "99999999999999999999"] {
      #expect(CPUList.parse(wrong) == nil, "\(wrong)")
    }
  }

  @Test func `The topology is read from a folder like the system's`() throws {
    let root = "/tmp/swerve-nodes-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    mkdir(root, 0o700)
    var made = [root]
    func write(_ path: String, _ text: String) {
      let file = fopen(path, "w")
      fputs(text, file)
      fclose(file)
      made.append(path)
    }
    defer { for path in made.reversed() { remove(path) } }
    write(root + "/online", "0-2,5\n")
    for (node, list) in [(0, "0-3,8-11\n"), (1, "4-7\n"), (2, "\n")] {
      mkdir("\(root)/node\(node)", 0o700)
      made.append("\(root)/node\(node)")
      write("\(root)/node\(node)/cpulist", list)
    }
    // Node 2 has memory only; node 5 cannot be read.
    #expect(
      NUMATopology(root: root).nodes == [
        .init(id: 0, cpus: [0, 1, 2, 3, 8, 9, 10, 11]), .init(id: 1, cpus: [4, 5, 6, 7]),
      ])
    #expect(NUMATopology(root: root + "/nowhere").nodes.isEmpty)
  }

  @Test func `Workers are spread over the nodes in proportion to their CPUs`() throws {
    let all = Array(0..<64)
    let full = try WorkerPlan(.init(), topology: Self.large, allowed: all, threadCount: nil)
    #expect(full.cpus.sorted() == all)
    #expect(full.workerNodes == (0..<64).map { $0 / 16 })
    #expect(full.nodeIDs == [0, 1, 2, 3])
    let some = try WorkerPlan(
      .init(nodes: [1, 3], cpus: Array(8..<16) + Array(24..<32) + Array(40..<48) + Array(56..<62)),
      topology: Self.large, allowed: Array(0..<62), threadCount: 7)
    #expect(some.nodeIDs == [1, 3])
    #expect(some.workerNodes == [0, 0, 0, 1, 1, 1, 1])
    #expect(zip(some.cpus, some.workerNodes).allSatisfy { Self.large.nodes[$1 == 0 ? 1 : 3].cpus.contains($0) })
    let one = try WorkerPlan(.init(), topology: Self.large, allowed: all, threadCount: 1)
    #expect(one.workerNodes == [0] && one.nodeIDs.count == 1)
  }

  @Test func `A quota bounds the workers and not the nodes they may be on`() throws {
    // Eight CPUs' worth of time on a machine of 64, and the wish for the last node: its CPUs are not among the first eight.
    let plan = try WorkerPlan(
      .init(nodes: [3]), topology: Self.large, allowed: Array(0..<64), quota: 8, threadCount: nil)
    #expect(plan.cpus.count == 8 && plan.cpus.allSatisfy(Self.large.nodes[3].cpus.contains))
    let all = try WorkerPlan(.init(), topology: Self.large, allowed: Array(0..<64), quota: 8, threadCount: nil)
    #expect(all.workerNodes == [0, 0, 1, 1, 2, 2, 3, 3])
    let few = try WorkerPlan(
      .init(cpus: [3, 4]), topology: Self.large, allowed: Array(0..<64), quota: 8, threadCount: nil)
    #expect(few.cpus == [3, 4])
    let asked = try WorkerPlan(.init(), topology: Self.large, allowed: Array(0..<64), quota: 2, threadCount: 16)
    #expect(asked.cpus.count == 16)
  }

  @Test func `Lists of CPUs are written as they are read`() {
    for text in ["0-3,8,10-11", "5", "", "0,2,4"] { #expect(CPUList.text(CPUList.parse(text) ?? [-1]) == text) }
  }

  @Test func `What is not there is refused with what is`() {
    func refusal(_ binding: NUMABinding, threads: Int? = nil, _ topology: NUMATopology = Self.large) -> String {
      do {
        _ = try WorkerPlan(binding, topology: topology, allowed: Array(0..<32), threadCount: threads)
        return "accepted"
      } catch { return "\(error)" }
    }
    #expect(refusal(.init(nodes: [4])).contains("no node 4; this machine has 0, 1, 2, 3"))
    #expect(refusal(.init(nodes: [0], cpus: [9])).contains("CPU 9"))
    #expect(refusal(.init(cpus: [40])).contains("CPU 40"))
    #expect(refusal(.init(nodes: [0]), threads: 9).contains("9 threads on 8 CPUs"))
    #expect(refusal(.init(cpus: [])).contains("0 CPUs"))
    #expect(refusal(.init(), NUMATopology(nodes: [])).contains("no memory nodes"))
  }

  /// Sixty-four cores on four nodes: every block has one owner, nodes are balanced to a unit, and workers that are equally
  /// fast read what is theirs.
  @Test(arguments: [(64, 4), (64, 1), (48, 3), (7, 2)])
  func `Blocks of every matrix have one owner and are read by it`(_ threads: Int, _ nodes: Int) throws {
    let perNode = (threads + nodes - 1) / nodes
    let topology = NUMATopology(
      nodes: (0..<nodes).map {
        .init(id: $0, cpus: Array($0 * perNode..<min(threads, ($0 + 1) * perNode)))
      })
    let plan = try WorkerPlan(.init(), topology: topology, allowed: Array(0..<threads), threadCount: nil)
    let pool = try KernelPool(plan: plan, pinned: false, spinMicroseconds: 0)
    // Units of query + key + value, output, gate and up, down and head of the half-billion and an eight-billion shape.
    for units in [1, 3, 72, 56, 304, 9496, 384, 256, 896, 8016] {
      let ranges = pool.nodeRanges(units: units)
      #expect(ranges.first?.lowerBound == 0 && ranges.last?.upperBound == units)
      #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      for (node, range) in ranges.enumerated() {
        let workers = plan.workerNodes.count { $0 == node }
        #expect(abs(Double(range.count) - Double(units * workers) / Double(threads)) <= 1)
      }
      let simulated = Simulation(ranges: ranges, workerNodes: plan.workerNodes, grain: 4).run()
      #expect(simulated.unitsDone == units)
      // Pieces of four units at the end of a node's range are what a neighbour may take.
      if units >= 16 * threads { #expect(simulated.remoteShare < 0.1, "\(units) units") }
      if units >= 100 * threads { #expect(simulated.remoteShare < 0.02, "\(units) units") }
    }
  }

  /// The pool's rule in virtual time, all workers equally fast: pieces of a third of the fair share of what is left in
  /// the own node's range, then in the next ones'.
  private struct Simulation {
    var ranges: [Range<Int>]
    var workerNodes: [Int]
    var grain: Int

    func run() -> (unitsDone: Int, remoteShare: Double) {
      var left = ranges
      var freeAt = [Int](repeating: 0, count: workerNodes.count)
      var done = 0
      var remote = 0
      while let worker = freeAt.indices.min(by: { (freeAt[$0], $0) < (freeAt[$1], $1) }) {
        let own = workerNodes[worker]
        guard let node = (0..<left.count).map({ (own + $0) % left.count }).first(where: { !left[$0].isEmpty }) else {
          break
        }
        let share = 3 * workerNodes.count { $0 == node }
        let count = min(left[node].count, max(grain, left[node].count / share / grain * grain))
        left[node] = left[node].dropFirst(count)
        freeAt[worker] += count
        done += count
        remote += node == own ? 0 : count
      }
      return (done, Double(remote) / Double(max(done, 1)))
    }
  }

  /// The real pool over pretended nodes: units done once each, results as ever.
  @Test func `Work on several nodes is done once and gives the same bits`() throws {
    let plan = try WorkerPlan(
      .init(), topology: NUMATopology(nodes: (0..<3).map { .init(id: $0, cpus: [2 * $0, 2 * $0 + 1]) }),
      allowed: Array(0..<6), threadCount: 5)
    var random = Random(41)
    let rows = 5, inputs = 96, outputs = 700
    let x = Rows(random.floats(rows * inputs), .bfloat16, rows: rows, columns: inputs)
    func product(_ device: CPUDevice) throws -> [[UInt8]] {
      let weight = try device.packRandom(rows: [outputs], columns: inputs, seed: 7, scale: 0.2, type: .bfloat16)
      let y = Rows(.float32, rows, outputs)
      for _ in 0..<200 { device.linear(x.tensor, weight, into: y.tensor) }
      return (0..<rows).map(y.rowBits)
    }
    let pool = try KernelPool(plan: plan, pinned: false, spinMicroseconds: 20)
    #expect(try product(CPUDevice(pool: pool, kernels: .scalar)) == product(device(.scalar)))
    let residual = Rows([Float](repeating: 0, count: 257 * 64), .float32, rows: 257, columns: 64)
    let delta = Rows([Float](repeating: 1, count: 257 * 64), .float32, rows: 257, columns: 64)
    let weight = Rows([Float](repeating: 1, count: 64), .float32, rows: 1, columns: 64)
    let y = Rows(.float32, 257, 64)
    let nodes = try CPUDevice(pool: pool, kernels: .scalar)
    for _ in 0..<500 {
      nodes.addRMSNorm(
        residual: residual.tensor, delta: delta.tensor, weight: weight.tensor, epsilon: 1e-6, into: y.tensor)
    }
    for row in 0..<257 { try #require(residual.row(row).allSatisfy { $0 == 500 }) }
  }
}
