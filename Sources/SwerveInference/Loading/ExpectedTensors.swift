package import SwerveCore

/// A tensor that a model of this configuration must have.
package struct ExpectedTensor: Sendable, Hashable {
  package var name: String
  package var shape: [Int]

  package init(_ name: String, _ shape: [Int]) {
    self.name = name
    self.shape = shape
  }
}

extension ModelConfiguration {
  /// Every tensor the family declares for this configuration, in the order of the decoder pass.
  package var expectedTensors: [ExpectedTensor] {
    let names = family.names
    var list = [ExpectedTensor(names.embedding, [vocabularySize, hiddenSize])]
    func linear(_ layer: Int, _ part: String, _ outputs: Int, _ inputs: Int, bias: Bool) {
      list.append(ExpectedTensor(names.layer(layer, part + ".weight"), [outputs, inputs]))
      if bias { list.append(ExpectedTensor(names.layer(layer, part + ".bias"), [outputs])) }
    }
    for layer in 0..<layerCount {
      list.append(ExpectedTensor(names.layer(layer, names.inputNorm), [hiddenSize]))
      linear(layer, names.query, queryWidth, hiddenSize, bias: queryKeyValueBias)
      linear(layer, names.key, keyValueWidth, hiddenSize, bias: queryKeyValueBias)
      linear(layer, names.value, keyValueWidth, hiddenSize, bias: queryKeyValueBias)
      if family.queryKeyNorm {
        list.append(ExpectedTensor(names.layer(layer, names.queryNorm), [headDim]))
        list.append(ExpectedTensor(names.layer(layer, names.keyNorm), [headDim]))
      }
      linear(layer, names.output, hiddenSize, queryWidth, bias: outputBias)
      list.append(ExpectedTensor(names.layer(layer, names.postNorm), [hiddenSize]))
      linear(layer, names.gate, intermediateSize, hiddenSize, bias: mlpBias)
      linear(layer, names.up, intermediateSize, hiddenSize, bias: mlpBias)
      linear(layer, names.down, hiddenSize, intermediateSize, bias: mlpBias)
    }
    list.append(ExpectedTensor(names.finalNorm, [hiddenSize]))
    if !tiedEmbeddings { list.append(ExpectedTensor(names.head, [vocabularySize, hiddenSize])) }
    return list
  }

  /// Checks names, shapes and types. Answers the names of tensors that nobody will read and that are not known to be
  /// superfluous: worth a warning, since a model with more parts than its configuration says may be another model.
  package func check(_ checkpoint: Checkpoint, place: String) throws(ModelFileError) -> [String] {
    let expected = expectedTensors
    var missing: [String] = []
    for tensor in expected {
      guard let found = checkpoint[tensor.name] else {
        missing.append(tensor.name)
        continue
      }
      guard found.shape == tensor.shape else {
        throw ModelFileError(
          file: found.path,
          reason: "tensor \(quoted(tensor.name)) has shape \(found.shape) and config.json calls for \(tensor.shape)")
      }
      guard found.type.elementType != nil else {
        throw ModelFileError(
          file: found.path,
          reason: "tensor \(quoted(tensor.name)) is \(found.type.rawValue); weights must be F32, F16 or BF16")
      }
    }
    if !missing.isEmpty { throw missingTensors(missing, of: expected.count, place: place) }

    var known = Set(expected.map(\.name))
    if tiedEmbeddings { known.insert(family.names.head) }
    return checkpoint.names.filter { name in
      !known.contains(name) && !family.names.ignoredSuffixes.contains { name.hasSuffix($0) }
    }
  }

  private func missingTensors(_ missing: [String], of count: Int, place: String) -> ModelFileError {
    let shown = missing.prefix(3).map(quoted).joined(separator: ", ") + (missing.count > 3 ? ", …" : "")
    var advice = "download the model again, or give the config.json that belongs to these weights"
    if missing == [family.names.head] {
      advice = "if the embedding table serves as output head, set tie_word_embeddings to true (--hf-overrides)"
    }
    return ModelFileError(
      file: place,
      reason: "\(missing.count) of \(count) tensors that \(architecture) needs are missing: \(shown); \(advice)")
  }
}
