import SwerveCore
package import SwervePlacement
package import SwerveScheduling

/// Groups of workers from one node to thousands, each group under a real scheduler with a real block pool over modelled
/// devices and links; beside it what the formulas say. Same inputs, same numbers.
package struct ScaleModel: Sendable {
  /// What a cluster is made of.
  package struct Hardware: Sendable, Hashable {
    package var name: String
    /// Computes, and holds parameters.
    package var node: DeviceDescription
    /// Holds keys and values only; nil = nodes of the first kind do.
    package var dataNode: DeviceDescription?
    package var link: LinkDescription

    package init(name: String, node: DeviceDescription, dataNode: DeviceDescription? = nil, link: LinkDescription) {
      self.name = name
      self.node = node
      self.dataNode = dataNode
      self.link = link
    }
  }

  /// One size of a cluster.
  package struct Point: Sendable {
    package var nodes: Int
    package var placement: Placement
    package var groups: Int
    /// Blocks that a pool of the real kind gave out, over all groups, and those of the formula.
    package var blocks = 0
    package var formulaBlocks = 0.0
    /// Output tokens a second over all groups, simulated and by the formula.
    package var tokensPerSecond = 0.0
    package var formulaTokensPerSecond = 0.0
    package var preemptions = 0
    package var steps = 0
  }

  package let model: ModelShape
  package let hardware: Hardware
  package let load: Load
  /// Most nodes of a group.
  package var groupNodes = 40
  /// Requests of a simulation for each sequence that may run.
  package var requestsPerSequence = 4

  package init(model: ModelShape, hardware: Hardware, load: Load) {
    self.model = model
    self.hardware = hardware
    self.load = load
  }

  // MARK: Groups

  /// Nodes that one copy of the parameters takes, with a tenth of their memory left.
  package var parameterNodes: Int {
    var count = 1
    while Double(count) * hardware.node.memoryBytes * 0.9 < model.totalBytes { count += 1 }
    return count
  }

  /// One group of so many nodes; nil where they do not hold the model.
  ///
  /// The nodes with parameters work as one (tensor parallel among themselves): a device with the sum of their memory and
  /// rates. Two nodes beside each other share a model as `tensor`; from three on, or where data nodes are of another
  /// kind, parameters and data are separated.
  package func group(nodes: Int) -> ModelledCluster? {
    let parameters = parameterNodes
    guard nodes >= parameters else { return nil }
    let first = Self.joined(hardware.node, parameters)
    let data = nodes - parameters
    func cluster(_ devices: [DeviceDescription], _ placement: Placement) -> ModelledCluster {
      ModelledCluster(
        CostModel(
          model: model,
          machine: MachineDescription(devices: devices, link: hardware.link, hostBytesPerSecond: 50e9), load: load),
        placement)
    }
    if data == 0 { return cluster([first], .unified) }
    if nodes == 2 && hardware.dataNode == nil { return cluster([hardware.node, hardware.node], .tensor(2)) }
    let kind = hardware.dataNode ?? hardware.node
    return cluster([first] + Array(repeating: kind, count: data), .separated(dataWorkers: data))
  }

  static func joined(_ device: DeviceDescription, _ count: Int) -> DeviceDescription {
    let times = Double(count)
    return DeviceDescription(
      name: count == 1 ? device.name : "\(count) x \(device.name)", memoryBytes: device.memoryBytes * times,
      bytesPerSecond: device.bytesPerSecond * times, operationsPerSecond: device.operationsPerSecond * times,
      attentionOperationsPerSecond: device.attentionOperationsPerSecond * times)
  }

  // MARK: Running

  /// Simulates a cluster of so many nodes; nil where they do not hold the model. Nodes that do not fill a group stand by.
  package func point(nodes: Int) throws(SchedulingError) -> Point? {
    let size = min(nodes, groupNodes)
    guard let cluster = group(nodes: size) else { return nil }
    let groups = nodes / size
    var point = Point(nodes: nodes, placement: cluster.placement, groups: groups)
    let estimate = cluster.cost.estimate(cluster.placement)
    point.blocks = groups * Self.blocksGivenOut(cluster)
    point.formulaBlocks = Double(groups) * formulaBlocks(cluster)
    point.formulaTokensPerSecond = Double(groups) * estimate.tokensPerSecond
    let report = try simulate(cluster)
    point.tokensPerSecond = Double(groups * report.outputTokens) / report.seconds
    point.preemptions = groups * report.preemptions
    point.steps = report.steps
    return point
  }

  /// The whole load at once, through the real scheduler, to its end.
  package func simulate(_ cluster: ModelledCluster) throws(SchedulingError) -> SimulationReport {
    var simulation = try Simulation(
      requests: requests, configuration: cluster.scheduler, device: cluster)
    do { try simulation.run() } catch { preconditionFailure("nothing looks into this simulation: \(error)") }
    return simulation.report
  }

  /// Requests of even length differ in their outputs, so that they do not end in one step.
  private var requests: [SimulatedRequest] {
    let count = load.sequences * requestsPerSequence
    let spread = max(1, load.outputTokens / 2)
    return (0..<count).map { index in
      // Evenly over the mean ± a half, in an order without runs.
      let place = (index &* 40_503) % (2 * spread + 1) - spread
      return SimulatedRequest(
        arrival: 0, promptTokens: Int32(load.promptTokens), outputTokens: Int32(max(1, load.outputTokens + place)))
    }
  }

  /// Whole blocks, device by device, as a real pool gives them out until it has none.
  package static func blocksGivenOut(_ cluster: ModelledCluster) -> Int {
    var pool = BlockPool(blockCount: cluster.cost.room(cluster.placement).blocks)
    var count = 0
    while pool.allocate() != nil { count += 1 }
    return count
  }

  /// (nU − W) / b beside weights, kU / b on data workers.
  private func formulaBlocks(_ cluster: ModelledCluster) -> Double {
    let block = model.blockBytes(tokens: load.blockTokens)
    let devices = cluster.cost.machine.devices.map(\.memoryBytes)
    if case .separated = cluster.placement { return devices.dropFirst().reduce(0, +) / block }
    return (devices.reduce(0, +) - model.totalBytes) / block
  }
}
