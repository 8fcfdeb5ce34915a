/// What `--numa-bind` asks for.
package struct NUMABinding: Sendable, Hashable {
  /// Nodes to use; nil = all that have allowed CPUs.
  package var nodes: [Int]?
  /// CPUs to use; nil = all of those nodes.
  package var cpus: [Int]?

  package init(nodes: [Int]? = nil, cpus: [Int]? = nil) {
    self.nodes = nodes
    self.cpus = cpus
  }
}

/// Which worker runs on which CPU, and which memory node that is. Workers of a node are neighbours, so that the units of a
/// run, cut in proportion to workers, give each node one range; worker 0, the engine's thread, is on the first node.
package struct WorkerPlan: Sendable, Hashable {
  /// [workers]
  package let cpus: [Int]
  /// [workers] index into `nodeIDs`, ascending from 0.
  package let workerNodes: [Int]
  /// The system's numbers of the nodes used.
  package let nodeIDs: [Int]

  /// - Parameters:
  ///   - allowed: CPUs that the process may run on.
  ///   - quota: CPUs' worth of time it gets: it bounds the workers, not the choice of nodes and CPUs; nil = no limit.
  ///   - threadCount: workers, spread over the nodes in proportion to their CPUs; nil = one a CPU, as far as the quota.
  /// - Throws: `.placement` with what there is instead.
  package init(
    _ binding: NUMABinding, topology: NUMATopology, allowed: [Int], quota: Int? = nil, threadCount: Int?
  ) throws(HardwareError) {
    guard !topology.nodes.isEmpty else {
      throw .placement("--numa-bind: the system tells of no memory nodes here; start without it")
    }
    let known = topology.nodes.map(\.id)
    if let missing = binding.nodes?.first(where: { !known.contains($0) }) {
      throw .placement("--numa-bind-nodes: there is no node \(missing); this machine has \(Self.list(known))")
    }
    let wanted = topology.nodes.filter { binding.nodes?.contains($0.id) ?? true }
    let reachable = Set(allowed).intersection(wanted.flatMap(\.cpus))
    if let missing = binding.cpus?.first(where: { !reachable.contains($0) }) {
      throw .placement(
        "--numa-bind-cpus: CPU \(missing) is not one this process may use on the nodes chosen; those are "
          + Self.list(reachable.sorted()))
    }
    let chosen = binding.cpus.map(Set.init) ?? reachable
    var nodes = wanted.map { NUMATopology.Node(id: $0.id, cpus: $0.cpus.filter(chosen.contains)) }
    nodes.removeAll { $0.cpus.isEmpty }
    let available = nodes.reduce(0) { $0 + $1.cpus.count }
    let count = threadCount ?? min(available, quota ?? available)
    guard available > 0, count >= 1, count <= available else {
      throw .placement(
        "--numa-bind: \(count) threads on \(available) CPUs; each thread needs a CPU of its own, so use fewer threads "
          + "or more CPUs")
    }
    var cpus: [Int] = []
    var workerNodes: [Int] = []
    var nodeIDs: [Int] = []
    var seen = 0
    for node in nodes {
      // The difference of rounded running shares: they add up to `count`.
      let share = (seen + node.cpus.count) * count / available - seen * count / available
      seen += node.cpus.count
      if share == 0 { continue }
      cpus += node.cpus.prefix(share)
      workerNodes += [Int](repeating: nodeIDs.count, count: share)
      nodeIDs.append(node.id)
    }
    self.cpus = cpus
    self.workerNodes = workerNodes
    self.nodeIDs = nodeIDs
  }

  private static func list(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ", ") }
}
