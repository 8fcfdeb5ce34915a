import SwerveCore
import SwerveHardware

/// The one decoder pass, for every family: what differs between families is in the configuration and the weights.
///
/// Tokens → embedding → for each layer {norm → query, key, value → rotation → attention → residual; norm → gated MLP →
/// residual}. Every row's numbers depend on that row and on the cache alone, whatever else is in the step. Nothing is
/// allocated here.
///
/// A rank runs its stage's layers over its share of heads and columns. Two products a layer have their inputs spread over
/// the tensor ranks, whose sums are joined (`TensorGroup`); residual rows go from stage to stage.
struct Forward: ~Copyable {
  let configuration: ModelConfiguration
  let weights: ModelWeights
  let device: CPUDevice
  let attention: any AttentionPort
  let activations: Activations
  private let group: TensorGroup?
  /// Whether all layers are here, and stay: then attention alone decides about micro-batches.
  private let isWhole: Bool
  private var links: RankLinks
  private var rotary: RotaryEmbedding
  private var batches: MicroBatches
  /// Residual rows that came from the stage before.
  private(set) var stageBytes = 0
  /// Sums sent to other tensor ranks.
  var tensorBytes: Int { group?.sentBytes ?? 0 }
  /// A token's place in the rank's part of the embedding table.
  private var ownToken: [TokenID] = [0]

  /// - Parameter configuration: of the rank's share.
  init(
    configuration: ModelConfiguration, weights: ModelWeights, device: CPUDevice, attention: any AttentionPort,
    activations: Activations, shape: RankShape, group: TensorGroup? = nil, links: RankLinks = RankLinks(),
    microBatches: Int? = nil
  ) {
    self.configuration = configuration
    self.weights = weights
    self.device = device
    self.attention = attention
    self.activations = activations
    self.group = group
    self.isWhole = shape.stageCount == 1 && weights.gathered == nil
    self.links = links
    self.rotary = RotaryEmbedding(configuration.rotary)
    self.batches = MicroBatches(stageCount: shape.stageCount, wanted: microBatches)
  }

  /// Makes sure that the neighbours execute the same plan.
  func agree(on mark: PlanMark) throws(ChannelError) { try mark.agree(over: links) }

  mutating func reconnect(_ links: RankLinks) {
    self.links = links
    group?.reconnect(links.tensor)
  }

  /// Runs the rank's layers for the plan's rows. Answers the residual stream, f32 [rows, hidden], before the final norm;
  /// rows of `incomplete` sequences mean nothing. Where there are micro-batches, stages work at once on different
  /// ones, or this and whoever computes attention do.
  ///
  /// - Throws: what the attention port throws, and `ChannelError` when another rank does not come.
  mutating func run(_ plan: borrowing StepPlan, incomplete: inout [Int32]) throws -> Tensor {
    let rows = plan.tokens.count
    let residual = activations.residual.first(rows)
    let count = isWhole ? min(attention.microBatches(plan), rows) : batches.count(rows: rows)
    guard count > 1 else {
      try run(plan, residual: residual, incomplete: &incomplete)
      return residual
    }
    batches.cut(plan, into: count)
    if isWhole {
      try overlap(plan, count, residual: residual, incomplete: &incomplete)
      return residual
    }
    for index in 0..<count {
      // Lent for the call: nothing is copied.
      var part = StepPlan()
      swap(&part, &batches.parts[index])
      defer { swap(&part, &batches.parts[index]) }
      try run(
        part, residual: residual.rows(MicroBatches.rows(index, of: count, rows: rows)), incomplete: &incomplete)
    }
    return residual
  }

  /// Micro-batches in turns: while attention goes on for one, the others' products are computed. All of them go
  /// through a layer before any goes through the next but one, so that later rows of a prompt find the earlier ones'
  /// keys.
  private mutating func overlap(
    _ plan: borrowing StepPlan, _ count: Int, residual: Tensor, incomplete: inout [Int32]
  ) throws {
    try embed(plan, into: residual)
    fillAngles(plan)
    let handle = try attention.begin(plan, parts: batches.parts)
    for part in 0..<count {
      let rows = MicroBatches.rows(part, of: count, rows: residual.rows)
      try submit(try weights.layer(0), 0, part, rows, residual: residual.rows(rows))
    }
    for layer in 0..<configuration.layerCount {
      let next = layer + 1
      for part in 0..<count {
        let rows = MicroBatches.rows(part, of: count, rows: residual.rows)
        let output = try attention.result(layer: layer, microbatch: part)
        try finish(try weights.layer(layer), output, residual: residual.rows(rows))
        if next == configuration.layerCount { continue }
        try submit(try weights.layer(next), next, part, rows, residual: residual.rows(rows))
      }
    }
    let changes = attention.end(handle)
    if !changes.incomplete.isEmpty { incomplete.append(contentsOf: changes.incomplete) }
  }

  private mutating func run(_ plan: borrowing StepPlan, residual: Tensor, incomplete: inout [Int32]) throws {
    if let previous = links.previous {
      try previous.receive.receiveAll(rows: residual, from: previous.peer)
      stageBytes += residual.rows * residual.rowBytes
    } else {
      try embed(plan, into: residual)
    }
    fillAngles(plan)
    let handle = try attention.begin(plan)
    for layer in 0..<configuration.layerCount { try run(layer: layer, residual: residual) }
    let changes = attention.end(handle)
    if !changes.incomplete.isEmpty {
      // Only rank 0 can take single sequences out of a step; whoever got these rows would make tokens of them.
      if links.next != nil { throw ChannelError.closed(peer: "a data worker of this rank") }
      incomplete.append(contentsOf: changes.incomplete)
    }
    if let next = links.next { try next.send.sendAll(rows: residual) }
  }

  private mutating func embed(_ plan: borrowing StepPlan, into residual: Tensor) throws {
    switch weights.embedding {
    case .mapped(let table, _): device.embed(plan.tokens.span, table: table, into: residual)
    case .packed(let table): device.embed(plan.tokens.span, table: table, into: residual)
    case .shared(let table, let first):
      // Tokens of other ranks' rows are all zero bits here.
      for row in 0..<residual.rows {
        let token = Int(plan.tokens[row].rawValue) - first
        let line = residual.rows(row..<row + 1)
        if let table, (0..<table.outputs).contains(token) {
          ownToken[0] = TokenID(token)
          device.embed(ownToken.span, table: table, into: line)
        } else {
          line.float32.update(repeating: 0, count: residual.columns)
        }
      }
      try group?.join(residual, device: device)
    case .elsewhere: preconditionFailure("a stage that receives rows has no embedding")
    }
  }

  private func run(layer index: Int, residual: Tensor) throws {
    let layer = try weights.layer(index)
    defer { weights.releaseLayer() }
    try submit(layer, index, 0, 0..<residual.rows, residual: residual)
    try finish(layer, try attention.result(layer: index, microbatch: 0), residual: residual)
  }

  /// A layer up to attention: norm, query, key, value, rotation.
  ///
  /// - Parameter rows: of the step, in whose places queries, keys and values wait for attention.
  private func submit(
    _ layer: ModelWeights.Layer, _ index: Int, _ microbatch: Int, _ rows: Range<Int>, residual: Tensor
  ) throws {
    let epsilon = configuration.normEpsilon
    let count = rows.count
    let normed = activations.normed.first(count)
    device.rmsNorm(residual, weight: layer.inputNorm, epsilon: epsilon, into: normed)
    let queryKeyValue = activations.queryKeyValue.first(count)
    device.linear(normed, layer.queryKeyValue, rounded: activations.rounded, into: queryKeyValue)
    let places = try attention.places(layer: index, microbatch: microbatch, rows: count)
    let query = places?.q ?? activations.query.rows(rows)
    let key = places?.k ?? activations.key.rows(rows)
    let value = places?.v ?? activations.value.rows(rows)
    device.rotate(
      queryKeyValue, cosines: activations.cosines.rows(rows), sines: activations.sines.rows(rows),
      qNorm: layer.queryNorm, kNorm: layer.keyNorm, epsilon: epsilon, headDim: configuration.headDim, q: query, k: key,
      v: value, slots: attention.slots(layer: index))
    try attention.submit(layer: index, microbatch: microbatch, q: query, k: key, v: value)
  }

  /// A layer from attention on: its output's product, norm, the gated MLP.
  private func finish(_ layer: ModelWeights.Layer, _ output: Tensor, residual: Tensor) throws {
    try accumulate(output, layer.output, into: residual)
    let normed = activations.normed.first(residual.rows)
    device.rmsNorm(residual, weight: layer.postNorm, epsilon: configuration.normEpsilon, into: normed)
    let gated = activations.gated.first(residual.rows)
    device.linear(normed, layer.gateUp, epilogue: .siluMultiply, rounded: activations.rounded, into: gated)
    try accumulate(gated, layer.down, into: residual)
  }

  /// A product whose inputs are spread over the tensor ranks, added to the residual stream.
  private func accumulate(_ x: Tensor, _ w: PackedWeight, into residual: Tensor) throws {
    guard let group else {
      return device.linear(x, w, epilogue: .accumulate, rounded: activations.rounded, into: residual)
    }
    let sums = group.sums.first(x.rows)
    device.linear(x, w, epilogue: .sums, into: sums)
    try group.reduce(sums, device: device)
    device.accumulate(sums, of: w, into: residual)
  }

  /// Cosines and sines of every row's position.
  private mutating func fillAngles(_ plan: borrowing StepPlan) {
    let cosines = activations.cosines
    let sines = activations.sines
    for index in plan.sequences.indices {
      let step = plan.sequences[index]
      for offset in 0..<Int(step.rowCount) {
        let row = Int(step.firstRow) + offset
        rotary.row(
          position: Int(step.contextTokens) + offset, promptTokens: Int(step.promptTokens),
          cosines: cosines.float32 + row * cosines.rowStride, sines: sines.float32 + row * sines.rowStride)
      }
    }
  }
}
