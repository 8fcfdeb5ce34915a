import SwerveHardware

/// The layers and the output head of a model whose weights are fetched into a ring.
///
/// Every pair of a buffer and an item has its matrices ready, so that a step makes none: some objects a layer.
final class GatheredWeights {
  let plan: GatherPlan
  let ring: GatherRing
  /// Ranks that hold shares; nil where weights come from elsewhere.
  private let peers: PeerSource?
  /// [buffers × layers]
  private let layers: [ModelWeights.Layer]
  /// [buffers × pieces]
  private let headPieces: [PackedWeight]

  /// - Parameters:
  ///   - mapped: the same weights where they lie in the file: their shapes were checked.
  ///   - source: of the file's bytes.
  /// - Throws: `HardwareError` for memory and threads.
  init(
    _ plan: GatherPlan, mapped: [ModelWeights.Layer], head: PackedWeight, index: PackedIndex, names: TensorNames,
    source: any GatherSource, device: CPUDevice
  ) throws(HardwareError) {
    self.plan = plan
    var configuration = GatherRing.Configuration()
    configuration.depth = plan.depth
    let ring = try GatherRing(
      items: plan.items, tailCount: plan.headPieces.count, slotBytes: plan.slotBytes, sources: [source],
      device: device, configuration: configuration)
    self.ring = ring
    peers = source as? PeerSource
    let places = Dictionary(index.matrices.enumerated().map { ($1.name, $0) }) { first, _ in first }
    var layers: [ModelWeights.Layer] = []
    var pieces: [PackedWeight] = []
    for slot in 0..<ring.slotCount {
      let base = slot * plan.slotBytes
      for (number, layer) in mapped.enumerated() {
        let origin = base - plan.layers[number].offset
        func view(_ matrix: PackedWeight, _ name: String) throws(HardwareError) -> PackedWeight {
          guard let place = places[name] else { preconditionFailure("a matrix that was loaded is not in its file") }
          let found = index.matrices[place]
          return try PackedWeight(
            viewing: matrix.shape, type: matrix.type, memory: ring.memory, numbers: origin + found.numbers.offset,
            bias: found.bias.map { origin + $0.offset })
        }
        let names = names.matrices(ofLayer: number)
        var here = layer
        here.queryKeyValue = try view(layer.queryKeyValue, names[0])
        here.output = try view(layer.output, names[1])
        here.gateUp = try view(layer.gateUp, names[2])
        here.down = try view(layer.down, names[3])
        layers.append(here)
      }
      for outputs in plan.headOutputs {
        var shape = head.shape
        shape.outputs = outputs.count
        pieces.append(
          try PackedWeight(viewing: shape, type: head.type, memory: ring.memory, numbers: base, bias: nil))
      }
    }
    self.layers = layers
    headPieces = pieces
  }

  /// The ranks that hold shares were started anew. Between steps only.
  func reconnect(_ holders: [RankLink]) {
    guard let peers else { return }
    peers.reconnect(holders)
    // Of what was on its way nothing came.
    ring.restart()
  }

  /// A step begins, whose sampled rows go through the head so often.
  func begin(headPasses: Int) { ring.begin(tailPasses: headPasses) }

  /// Waits for a layer. It stays until `giveBack`.
  func layer(_ index: Int) throws(GatherError) -> ModelWeights.Layer {
    layers[try ring.take(index) * plan.layers.count + index]
  }

  /// Waits for a piece of the head.
  func headPiece(_ index: Int) throws(GatherError) -> PackedWeight {
    headPieces[try ring.take(plan.layers.count + index) * plan.headPieces.count + index]
  }

  func giveBack() { ring.giveBack() }
}
