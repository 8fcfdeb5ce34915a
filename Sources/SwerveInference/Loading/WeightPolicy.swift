package import SwerveCore
package import SwerveHardware

/// Which matrix of a model is stored in which format.
///
/// All decoder matrices take the asked format, as far as their inputs allow: a 4-bit group must divide a segment, so a
/// matrix takes the largest group that does and is no larger than the asked one, else int8 (int4-dynamic: int8-dynamic). The output head is kept at
/// int8 under every quantisation: its rows are the vocabulary, its errors go straight into the logits, and a tied
/// embedding is the same matrix. An embedding table of its own stays as it is.
package struct WeightPolicy: Sendable {
  let model: ModelConfiguration
  let type: ElementType
  /// nil: everything in `type`.
  let quantization: WeightFormat?

  package init(model: ModelConfiguration, type: ElementType, quantization: WeightFormat?) {
    self.model = model
    self.type = type
    self.quantization = quantization
  }

  /// Of a decoder matrix with so many inputs, cut into `segments`.
  package func format(inputs: Int, segments: Int = 1) -> WeightFormat {
    guard let quantization else { return .plain(type) }
    func fits(_ group: Int, _ most: Int) -> Bool { group <= most && inputs / segments % group == 0 }
    switch quantization {
    case .plain(let stored): return .plain(stored)
    case .int8: return .int8
    case .int8Dynamic: return inputs <= WeightFormat.maximumDynamicInputs ? .int8Dynamic : .int8
    case .int4Dynamic(let most):
      return WeightFormat.groupSizes.first { $0 <= most && inputs % $0 == 0 }.map { .int4Dynamic(group: $0) }
        ?? WeightPolicy(model: model, type: type, quantization: .int8Dynamic).format(inputs: inputs)
    case .int4(let most):
      return WeightFormat.groupSizes.first { fits($0, most) }.map { .int4(group: $0) } ?? .int8
    case .nf4(let most):
      return WeightFormat.groupSizes.first { fits($0, most) }.map { .nf4(group: $0) } ?? .int8
    }
  }

  /// Of the output head, and of an embedding that is packed.
  package var headFormat: WeightFormat { quantization?.isQuantized == true ? .int8 : .plain(type) }

  /// Whether a product rounds its rows.
  package var roundsRows: Bool { quantization?.roundsRows == true }

  /// One sentence for each kind of matrix that could not take the asked format.
  package var warnings: [String] {
    guard let quantization else { return [] }
    let kinds = [
      ("query, key, value, gate and up", model.hiddenSize, 1), ("output", model.queryWidth, model.reductionShards),
      ("down", model.intermediateSize, model.reductionShards),
    ]
    return kinds.compactMap { kind in
      let (name, inputs, segments) = kind
      let used = format(inputs: inputs, segments: segments)
      guard used != quantization else { return nil }
      let cut = segments == 1 ? "" : " in \(segments) segments"
      return "the \(name) matrices are kept in \(used.name): \(inputs) inputs\(cut) do not fit \(quantization.name)"
    }
  }
}
