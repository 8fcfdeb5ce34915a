package import SwervePlacement

extension ScaleModel.Hardware {
  /// Nodes of 8 accelerators of 80 GB, by their data sheet; 90 % of memory and 60 % of rates count.
  package static let accelerators = Self(
    name: "8 x 80 GB a node",
    node: DeviceDescription(
      name: "node", memoryBytes: 8 * 80e9 * 0.9, bytesPerSecond: 8 * 3.35e12 * 0.6,
      operationsPerSecond: 8 * 990e12 * 0.6, attentionOperationsPerSecond: 8 * 990e12 * 0.3),
    link: LinkDescription(latencySeconds: 5e-6, bytesPerSecond: 400e9))

  /// The same nodes for parameters, and hosts with much slow memory for keys and values.
  package static let mixed = Self(
    name: "8 x 80 GB for parameters, hosts of 2 TB for data", node: accelerators.node,
    dataNode: DeviceDescription(
      name: "host", memoryBytes: 2e12 * 0.9, bytesPerSecond: 0.6e12 * 0.8, operationsPerSecond: 40e12,
      attentionOperationsPerSecond: 15e12),
    link: accelerators.link)
}

extension ScaleModel {
  /// Devices whose weights nearly fill them: what a second device adds.
  ///
  /// x is the share of one device that weights take: (2 − x) / (1 − x) times the blocks.
  package static func doubling(weightShare: Double, load: Load) -> (one: ModelledCluster, two: ModelledCluster) {
    let model = ModelShape.llama70B
    let device = DeviceDescription(
      name: "device", memoryBytes: model.totalBytes / weightShare, bytesPerSecond: 2 * 3.35e12 * 0.6,
      operationsPerSecond: 2 * 990e12 * 0.4, attentionOperationsPerSecond: 2 * 990e12 * 0.2)
    func cluster(_ count: Int, _ placement: Placement) -> ModelledCluster {
      ModelledCluster(
        CostModel(
          model: model,
          machine: MachineDescription(
            devices: Array(repeating: device, count: count),
            link: LinkDescription(latencySeconds: 10e-6, bytesPerSecond: 200e9), hostBytesPerSecond: 50e9),
          load: load), placement)
    }
    return (cluster(1, .unified), cluster(2, .tensor(2)))
  }
}
