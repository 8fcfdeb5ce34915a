import SwerveCore
import SwerveHardware

/// Builds `ModelWeights` from a checkpoint, from a packed weight file, or from seeded noise where there is neither: the
/// same order, the same shapes.
///
/// Packing reads the mapped files once, on all threads, and drops their pages behind, so that memory never holds two
/// copies of the weights. A packed file is used in place.
struct WeightLoader {
  enum Source {
    case checkpoint(Checkpoint)
    case packed(PackedFile)
    /// Uniform noise of a trained model's usual spread; norms are one.
    case random(seed: UInt64)
  }

  /// Of the whole model.
  let configuration: ModelConfiguration
  /// What of it is loaded.
  let shape: RankShape
  let policy: WeightPolicy
  let device: CPUDevice
  let source: Source
  /// Gets everything that was loaded, to write it.
  let writer: PackedFileWriter?
  /// Told the share of weights loaded, 0…1.
  let progress: (Double) -> Void
  /// How a packed file's layers are fetched; nil: they are used where they lie.
  var gathering: RunnerConfiguration.Gathering?

  /// Ranks that hold shares of the weights.
  var holders: [RankLink] = []

  private var loadedElements = 0
  private var normsUsed = 0
  private var matrices: UInt64 = 0

  init(
    configuration: ModelConfiguration, shape: RankShape? = nil, policy: WeightPolicy, device: CPUDevice, source: Source,
    writer: PackedFileWriter? = nil, progress: @escaping (Double) -> Void
  ) {
    self.configuration = configuration
    self.shape = shape ?? .whole(configuration)
    self.policy = policy
    self.device = device
    self.source = source
    self.writer = writer
    self.progress = progress
  }

  /// - Throws: `ModelFileError` for a tensor, `HardwareError` for memory.
  mutating func load() throws -> ModelWeights {
    let c = configuration
    let names = c.family.names
    let norms = try device.allocate(byteCount: c.normElements * 4)
    let memory = norms.pointer
    progress(0)
    if case .packed(let file) = source {
      if gathering == nil { file.willBeRead() } else { file.willBeReadHereAndThere() }
      try file.readNorms(into: memory.assumingMemoryBound(to: Float.self), count: c.normElements)
    }
    // Matrices are numbered and norms placed as in the whole model, so that a share has the same numbers.
    var layers: [ModelWeights.Layer] = []
    layers.reserveCapacity(shape.layers.count)
    matrices = UInt64(shape.layers.lowerBound) * Self.matricesOfLayer
    normsUsed = shape.layers.lowerBound * c.layerNormElements
    for index in shape.layers { layers.append(try loadLayer(index, norms: memory)) }
    matrices = UInt64(c.layerCount) * Self.matricesOfLayer
    normsUsed = c.layerCount * c.layerNormElements
    let finalNorm = try loadNorm(names.finalNorm, c.hiddenSize, norms: memory)
    let (embedding, head) = try loadVocabulary()
    try writer?.keep(norms: UnsafeRawBufferPointer(start: memory, count: c.normElements * 4))
    var gathered: GatheredWeights?
    if let gathering, let head, case .packed(let file) = source {
      gathered = try GatheredWeights(
        gathering.plan, mapped: layers, head: head, index: file.index, names: names,
        source: try gatherSource(gathering), device: device)
      layers = []
    }
    progress(1)
    return ModelWeights(
      embedding: embedding, layers: layers, finalNorm: finalNorm, head: head, norms: norms, gathered: gathered)
  }

  private func gatherSource(_ gathering: RunnerConfiguration.Gathering) throws -> any GatherSource {
    switch gathering.source {
    case .host: return try GatherFile(path: gathering.path, caching: .kept)
    case .nvme: return try GatherFile(path: gathering.path, caching: .bypassed)
    case .peers:
      let shares = GatherShares(gathering.plan.items, rankCount: gathering.rankCount)
      let own = try GatherShard(shares, rank: 0, path: gathering.path, device: device)
      return PeerSource(own, links: holders)
    }
  }

  private static let matricesOfLayer: UInt64 = 4

  /// The output head on the last stage and the embedding on the first one; one matrix where they are tied.
  private mutating func loadVocabulary() throws -> (ModelWeights.Embedding, PackedWeight?) {
    let c = configuration
    let names = c.family.names
    let tokens = shape.vocabulary(c.vocabularySize)
    let needsHead = shape.isLastStage || c.tiedEmbeddings && shape.isFirstStage
    var head: PackedWeight?
    if needsHead, !tokens.isEmpty {
      head = try loadMatrix(
        [c.tiedEmbeddings ? names.embedding : names.head], rows: [MatrixPart(tokens, of: c.vocabularySize)],
        inputs: MatrixPart(c.hiddenSize), format: policy.headFormat)
    }
    var embedding = ModelWeights.Embedding.elsewhere
    if shape.isFirstStage {
      matrices = UInt64(c.layerCount) * Self.matricesOfLayer + 1
      embedding = c.tiedEmbeddings ? share(head, tokens) : try loadEmbedding(names.embedding, tokens)
    }
    return (embedding, shape.isLastStage ? head : nil)
  }

  private func share(_ matrix: PackedWeight?, _ tokens: Range<Int>) -> ModelWeights.Embedding {
    if shape.tensorSize == 1, let matrix { return .packed(matrix) }
    return .shared(matrix, first: tokens.lowerBound)
  }

  private mutating func loadLayer(_ index: Int, norms: UnsafeMutableRawPointer) throws -> ModelWeights.Layer {
    let c = configuration
    let names = c.family.names
    func name(_ part: String) -> String { names.layer(index, part) }
    func heads(_ count: Int) -> MatrixPart {
      let part = shape.share(count)
      return MatrixPart(part.range.lowerBound * c.headDim..<part.range.upperBound * c.headDim, of: count * c.headDim)
    }
    let hidden = MatrixPart(c.hiddenSize)
    let queries = heads(c.headCount)
    let keys = heads(c.keyValueHeadCount)
    let middle = shape.share(c.intermediateSize)
    let segments = c.reductionShards(shape)
    let inputNorm = try loadNorm(name(names.inputNorm), c.hiddenSize, norms: norms)
    let queryKeyValue = try loadMatrix(
      [names.query, names.key, names.value].map { name($0) + ".weight" }, rows: [queries, keys, keys], inputs: hidden,
      hasBias: c.queryKeyValueBias)
    let hasNorm = c.family.queryKeyNorm
    let queryNorm = hasNorm ? try loadNorm(name(names.queryNorm), c.headDim, norms: norms) : nil
    let keyNorm = hasNorm ? try loadNorm(name(names.keyNorm), c.headDim, norms: norms) : nil
    let output = try loadMatrix(
      [name(names.output) + ".weight"], rows: [hidden], inputs: queries, hasBias: c.outputBias, segments: segments,
      format: policy.format(inputs: c.queryWidth, segments: c.policySegments(shape)))
    let postNorm = try loadNorm(name(names.postNorm), c.hiddenSize, norms: norms)
    let gateUp = try loadMatrix(
      [names.gate, names.up].map { name($0) + ".weight" }, rows: [middle, middle], inputs: hidden, hasBias: c.mlpBias,
      layout: .interleaved16)
    let down = try loadMatrix(
      [name(names.down) + ".weight"], rows: [hidden], inputs: middle, hasBias: c.mlpBias, segments: segments,
      format: policy.format(inputs: c.intermediateSize, segments: c.policySegments(shape)))
    return ModelWeights.Layer(
      inputNorm: inputNorm, queryKeyValue: queryKeyValue, queryNorm: queryNorm, keyNorm: keyNorm, output: output,
      postNorm: postNorm, gateUp: gateUp, down: down)
  }

  private mutating func loadMatrix(
    _ names: [String], rows: [MatrixPart], inputs: MatrixPart, hasBias: Bool = false, layout: PackedLayout = .stacked,
    segments: Int = 1, format: WeightFormat? = nil
  ) throws -> PackedWeight {
    let format = format ?? policy.format(inputs: inputs.whole)
    defer { advance(rows.reduce(0) { $0 + $1.range.count } * inputs.range.count) }
    matrices += 1
    let packed = try packMatrix(
      names, rows: rows, inputs: inputs, hasBias: hasBias, layout: layout, segments: segments, format: format)
    return try writer?.keep(names[0], packed) ?? packed
  }

  private func packMatrix(
    _ names: [String], rows: [MatrixPart], inputs: MatrixPart, hasBias: Bool, layout: PackedLayout, segments: Int,
    format: WeightFormat
  ) throws -> PackedWeight {
    switch source {
    case .packed(let file):
      let isShare = shape.tensorSize > 1
      let cut = inputs.range.count < inputs.whole
      let expected = PackedShape(
        format: cut ? policy.format(inputs: inputs.whole, segments: configuration.reductionShards) : format,
        layout: layout,
        outputs: layout == .interleaved16 ? rows[0].whole : rows.reduce(0) { $0 + $1.whole }, inputs: inputs.whole,
        segments: cut ? configuration.reductionShards : segments, hasBias: hasBias)
      let whole = try file.matrix(names[0], expected: expected, type: policy.type)
      if !isShare { return whole }
      return try whole.part(
        rows: Self.places(rows, layout: layout), inputs: inputs.range, segments: segments, device: device)
    case .random(let seed):
      return try device.packRandom(
        rows: rows, inputs: inputs, seed: Self.seed(seed, matrix: matrices), scale: 0.02, type: policy.type,
        format: format, layout: layout, segments: segments, withBias: hasBias)
    case .checkpoint(let checkpoint):
      let tensors = try names.map { try Self.tensor($0, in: checkpoint) }
      let biases =
        hasBias
        ? try names.enumerated().map { index, name -> WeightSource? in
          let bias = try Self.tensor(name.dropLast(".weight".count) + ".bias", in: checkpoint)
          return try Self.weightSource(bias).numbers(rows[index].range)
        } : []
      let sources = try tensors.enumerated().map { try Self.weightSource($1).rows(rows[$0].range) }
      let packed = try device.pack(
        sources, biases: biases, type: policy.type, format: format, layout: layout, inputs: inputs.range,
        segments: segments
      ) { part in
        let bytes = UnsafeRawBufferPointer(start: part.pointer, count: part.byteCount)
        for tensor in tensors { tensor.dropPages(of: bytes) }
      }
      for tensor in tensors { tensor.dropPages() }
      return packed
    }
  }

  /// Where parts of sources lie in the matrix that they were packed into.
  private static func places(_ rows: [MatrixPart], layout: PackedLayout) -> [Range<Int>] {
    if layout == .interleaved16 { return [rows[0].range] }
    var first = 0
    return rows.map { part in
      defer { first += part.whole }
      return first + part.range.lowerBound..<first + part.range.upperBound
    }
  }

  /// A seed of its own for each matrix: neighbours must not be shifted copies of one another.
  private static func seed(_ seed: UInt64, matrix: UInt64) -> UInt64 {
    let words = Philox(seed: seed).block(
      SIMD4(UInt32(truncatingIfNeeded: matrix), UInt32(truncatingIfNeeded: matrix >> 32), 0, 1))
    return UInt64(words[0]) << 32 | UInt64(words[1])
  }

  private mutating func loadNorm(_ name: String, _ count: Int, norms: UnsafeMutableRawPointer) throws -> Tensor {
    let tensor = Tensor(pointer: norms + normsUsed * 4, type: .float32, rows: 1, columns: count)
    normsUsed += count
    switch source {
    case .random: tensor.float32.update(repeating: 1, count: count)
    case .packed: break
    case .checkpoint(let checkpoint):
      let source = try Self.weightSource(try Self.tensor(name, in: checkpoint))
      for index in 0..<count { tensor.float32[index] = source.number(at: index) }
    }
    return tensor
  }

  private mutating func loadEmbedding(_ name: String, _ tokens: Range<Int>) throws -> ModelWeights.Embedding {
    let rows = configuration.vocabularySize
    let columns = configuration.hiddenSize
    if case .packed(let file) = source, let (table, owner) = try file.table(name, rows: rows, columns: columns) {
      return .mapped(table, owner)
    }
    if case .checkpoint(let checkpoint) = source {
      let tensor = try Self.tensor(name, in: checkpoint)
      let source = try Self.weightSource(tensor)
      // Rows are read in place, so they must lie at whole elements; a file written by hand may not do so.
      if Int(bitPattern: source.pointer) % source.type.byteCount == 0 {
        let table = Tensor(
          pointer: UnsafeMutableRawPointer(mutating: source.pointer), type: source.type, rows: rows, columns: columns)
        try writer?.keep(name, table: table)
        return .mapped(table, tensor.file)
      }
    }
    if tokens.isEmpty { return share(nil, tokens) }
    let matrix = try loadMatrix(
      [name], rows: [MatrixPart(tokens, of: rows)], inputs: MatrixPart(columns), format: policy.headFormat)
    return share(matrix, tokens)
  }

  private mutating func advance(_ elements: Int) {
    loadedElements += elements
    progress(min(1, Double(loadedElements) / Double(configuration.share(shape).matrixElements)))
  }

  private static func tensor(_ name: String, in checkpoint: Checkpoint) throws(ModelFileError) -> Checkpoint.Tensor {
    guard let tensor = checkpoint[name] else {
      throw ModelFileError(file: Checkpoint.singleName, reason: "tensor \(quoted(name)) is missing")
    }
    return tensor
  }

  private static func weightSource(_ tensor: Checkpoint.Tensor) throws(ModelFileError) -> WeightSource {
    guard let type = tensor.type.elementType, let pointer = tensor.bytes.baseAddress, let columns = tensor.shape.last
    else {
      throw ModelFileError(
        file: tensor.path,
        reason: "tensor \(quoted(tensor.name)) is \(tensor.type.rawValue) of shape \(tensor.shape); "
          + "weights must be F32, F16 or BF16")
    }
    return WeightSource(
      pointer: pointer, type: type, rows: tensor.shape.dropLast().reduce(1, *), columns: columns)
  }
}

extension ModelConfiguration {
  /// Numbers in all packed matrices.
  var matrixElements: Int {
    let attention = hiddenSize * (queryKeyValueWidth + queryWidth)
    return layerCount * (attention + 3 * hiddenSize * intermediateSize) + vocabularySize * hiddenSize
  }
}
