import SwerveCore
import SwerveHardware

/// The one decoder pass, for every family: what differs between families is in the configuration and the weights.
///
/// Tokens → embedding → for each layer {norm → query, key, value → rotation → attention → residual; norm → gated MLP →
/// residual}. Every row's numbers depend on that row and on the cache alone, whatever else is in the step. Nothing is
/// allocated here.
struct Forward: ~Copyable {
  let configuration: ModelConfiguration
  let weights: ModelWeights
  let device: CPUDevice
  let attention: any AttentionPort
  let activations: Activations
  private var rotary: RotaryEmbedding

  init(
    configuration: ModelConfiguration, weights: ModelWeights, device: CPUDevice, attention: any AttentionPort,
    activations: Activations
  ) {
    self.configuration = configuration
    self.weights = weights
    self.device = device
    self.attention = attention
    self.activations = activations
    self.rotary = RotaryEmbedding(configuration.rotary)
  }

  /// Runs all layers for the plan's rows. Answers the residual stream, f32 [rows, hidden], before the final norm; rows of
  /// `incomplete` sequences mean nothing.
  mutating func run(_ plan: borrowing StepPlan, incomplete: inout [Int32]) throws -> Tensor {
    let rows = plan.tokens.count
    let residual = activations.residual.first(rows)
    switch weights.embedding {
    case .mapped(let table, _): device.embed(plan.tokens.span, table: table, into: residual)
    case .packed(let table): device.embed(plan.tokens.span, table: table, into: residual)
    }
    fillAngles(plan)
    let handle = try attention.begin(plan)
    for layer in 0..<configuration.layerCount { try run(layer: layer, rows: rows) }
    let changes = attention.end(handle)
    if !changes.incomplete.isEmpty { incomplete.append(contentsOf: changes.incomplete) }
    return residual
  }

  private func run(layer index: Int, rows: Int) throws {
    let layer = try weights.layer(index)
    defer { weights.releaseLayer() }
    let epsilon = configuration.normEpsilon
    let residual = activations.residual.first(rows)
    let normed = activations.normed.first(rows)
    let rounded = activations.rounded

    device.rmsNorm(residual, weight: layer.inputNorm, epsilon: epsilon, into: normed)
    let queryKeyValue = activations.queryKeyValue.first(rows)
    device.linear(normed, layer.queryKeyValue, rounded: rounded, into: queryKeyValue)
    let places = try attention.places(layer: index, rows: rows)
    let query = places?.q ?? activations.query.first(rows)
    let key = places?.k ?? activations.key.first(rows)
    let value = places?.v ?? activations.value.first(rows)
    device.rotate(
      queryKeyValue, cosines: activations.cosines.first(rows), sines: activations.sines.first(rows),
      qNorm: layer.queryNorm, kNorm: layer.keyNorm, epsilon: epsilon, headDim: configuration.headDim, q: query, k: key,
      v: value)
    try attention.submit(layer: index, microbatch: 0, q: query, k: key, v: value)
    let output = try attention.result(layer: index, microbatch: 0)
    device.linear(output, layer.output, epilogue: .accumulate, rounded: rounded, into: residual)

    device.rmsNorm(residual, weight: layer.postNorm, epsilon: epsilon, into: normed)
    let gated = activations.gated.first(rows)
    device.linear(normed, layer.gateUp, epilogue: .siluMultiply, rounded: rounded, into: gated)
    device.linear(gated, layer.down, epilogue: .accumulate, rounded: rounded, into: residual)
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
