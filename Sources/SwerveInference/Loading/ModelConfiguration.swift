package import SwerveCore

/// config.json as numbers: everything the loader, the decoder pass and the memory plan need to know of a model. Each
/// value was checked, so products of them fit and no later division meets a zero.
package struct ModelConfiguration: Sendable {
  package var family: ModelFamily
  /// The `architectures` entry (or `model_type`) that chose the family.
  package var architecture: String
  package var vocabularySize: Int
  package var hiddenSize: Int
  package var intermediateSize: Int
  package var layerCount: Int
  package var headCount: Int
  /// Divides `headCount`.
  package var keyValueHeadCount: Int
  /// Even.
  package var headDim: Int
  package var normEpsilon: Float
  package var rotary: RotaryConfiguration
  /// Longest sequence, prompt and output, the model was made for (scaling included).
  package var contextTokens: Int
  /// Whether the output head is the embedding table.
  package var tiedEmbeddings: Bool
  package var queryKeyValueBias: Bool
  package var outputBias: Bool
  package var mlpBias: Bool
  /// [layerCount] tokens a query sees, itself included; nil = all before it.
  package var windows: [Int?]
  /// Element type the checkpoint says it was saved in; nil where it does not say.
  package var checkpointType: ElementType?
  /// `eos_token_id` of config.json.
  package var endTokens: [TokenID]
  /// `bos_token_id` of config.json.
  package var beginToken: TokenID?

  /// Width of all query heads.
  package var queryWidth: Int { headCount * headDim }
  /// Width of all key heads (and of all value heads).
  package var keyValueWidth: Int { keyValueHeadCount * headDim }
  package var queryKeyValueWidth: Int { queryWidth + 2 * keyValueWidth }

  package static let fileName = "config.json"

  /// Reads config.json, with members replaced by `overrides` (`--hf-overrides`).
  package init(_ files: ModelFiles, overrides: JSONObject = JSONObject()) throws(ModelFileError) {
    let path = files.path(Self.fileName)
    guard let json = try files.json(Self.fileName) else {
      throw ModelFileError(file: path, reason: "is missing: give a folder with a model in Hugging Face form")
    }
    try self.init(json, overrides: overrides, file: path)
  }

  /// The method by which config.json says the weights are quantised; nil where it says nothing of the kind.
  package static func quantizationMethod(_ files: ModelFiles) throws(ModelFileError) -> String? {
    guard let member = try files.json(fileName)?["quantization_config"], !member.isNull else { return nil }
    return member["quant_method"]?.string ?? "unknown"
  }

  /// Decodes a parsed config.json. `file` is its name in error sentences.
  package init(_ json: JSON, overrides: JSONObject = JSONObject(), file: String) throws(ModelFileError) {
    guard let object = json.object else {
      throw ModelFileError(file: file, reason: "must be an object, not \(json.kind)")
    }
    let reader = ConfigurationReader(object: Self.merged(object, overrides), file: file)
    (family, architecture) = try Self.family(reader)
    let defaults = family.defaults
    try Self.refuseUnsupported(reader)

    vocabularySize = try reader.integer("vocab_size", in: 1...(1 << 24))
    hiddenSize = try reader.integer("hidden_size", in: 1...65_536)
    intermediateSize = try reader.integer("intermediate_size", in: 1...(1 << 20))
    layerCount = try reader.integer("num_hidden_layers", in: 1...1024)
    headCount = try reader.integer("num_attention_heads", in: 1...1024)
    keyValueHeadCount = try reader.integer(
      "num_key_value_heads", in: 1...1024,
      default: reader.isNull("num_key_value_heads") ? headCount : defaults.keyValueHeads ?? headCount)
    guard headCount % keyValueHeadCount == 0 else {
      throw reader.fail(
        "num_key_value_heads", "(\(keyValueHeadCount)) must divide num_attention_heads (\(headCount))")
    }
    if !reader.has("head_dim"), defaults.headDim == nil, hiddenSize % headCount != 0 {
      throw reader.fail(
        "num_attention_heads", "(\(headCount)) must divide hidden_size (\(hiddenSize)) where head_dim is not given")
    }
    headDim = try reader.integer("head_dim", in: 2...512, default: defaults.headDim ?? max(2, hiddenSize / headCount))
    guard headDim % 2 == 0 else { throw reader.fail("head_dim", "must be even, not \(headDim)") }
    normEpsilon = Float(try reader.number("rms_norm_eps", in: 0...1, default: defaults.normEpsilon))

    let trained = try reader.integer("max_position_embeddings", in: 1...(1 << 30), default: defaults.contextTokens)
    rotary = try RotaryConfiguration(
      reader, headDim: headDim, contextTokens: trained, defaultTheta: defaults.ropeTheta)
    contextTokens = rotary.contextTokens(trained: trained)

    tiedEmbeddings = try reader.flag("tie_word_embeddings", default: false)
    (queryKeyValueBias, outputBias) = try Self.biases(family.attentionBias, reader)
    mlpBias = try Self.biases(family.mlpBias, reader).1
    windows = try Self.windows(family, reader, layerCount: layerCount)
    checkpointType = try Self.checkpointType(reader)
    endTokens = try reader.tokens("eos_token_id", vocabulary: vocabularySize)
    beginToken = try reader.tokens("bos_token_id", vocabulary: vocabularySize).first
  }
}

extension ModelConfiguration {
  /// Replaces members. Newer files say the same thing under another name (`rope_parameters`, `dtype`); an override by the
  /// older name must not lose against it.
  private static func merged(_ object: JSONObject, _ overrides: JSONObject) -> JSONObject {
    var merged = object
    for (key, value) in overrides { merged[key] = value }
    if overrides["rope_parameters"] == nil, case .object(var parameters)? = merged["rope_parameters"] {
      if let theta = overrides["rope_theta"] { parameters["rope_theta"] = theta }
      merged["rope_parameters"] = .object(parameters)
      if overrides["rope_scaling"] != nil {
        if let theta = parameters["rope_theta"] { merged["rope_theta"] = theta }
        merged["rope_parameters"] = nil
      }
    }
    if overrides["torch_dtype"] != nil, overrides["dtype"] == nil { merged["dtype"] = nil }
    return merged
  }

  private static func family(_ reader: ConfigurationReader) throws(ModelFileError) -> (ModelFamily, String) {
    let supported = "supported are \(ModelFamily.architectureNames.joined(separator: ", "))"
    if let value = reader.object["architectures"], !value.isNull {
      let names = (value.array ?? []).compactMap(\.string)
      guard !names.isEmpty else { throw reader.fail("architectures", "must be a list of names; \(supported)") }
      for name in names {
        if let family = ModelFamily.named(architecture: name) { return (family, name) }
      }
      throw reader.fail(
        "architectures",
        "names \(names.prefix(3).map(quoted).joined(separator: ", ")), which is not supported; \(supported)")
    }
    guard let type = try reader.string("model_type") else {
      throw reader.fail("architectures", "is missing; \(supported)")
    }
    guard let family = ModelFamily.named(modelType: type) else {
      throw reader.fail("model_type", "is \(quoted(type)), which is not supported; \(supported)")
    }
    return (family, family.architectures[0])
  }

  /// Refuses what would otherwise be computed wrongly without anybody noticing.
  private static func refuseUnsupported(_ reader: ConfigurationReader) throws(ModelFileError) {
    if let activation = try reader.string("hidden_act"), activation != "silu", activation != "swish" {
      throw reader.fail("hidden_act", "is \(quoted(activation)); supported is silu")
    }
    if let quantization = try reader.nested("quantization_config") {
      let method = try quantization.string("quant_method") ?? "unknown"
      throw reader.fail(
        "quantization_config",
        "says the weights are quantised (\(quoted(method))); give a bfloat16, float16 or "
          + "float32 checkpoint of this model")
    }
  }

  /// Biases of (the inputs of a part, its output).
  private static func biases(
    _ rule: ModelFamily.BiasRule, _ reader: ConfigurationReader
  ) throws(ModelFileError) -> (Bool, Bool) {
    switch rule {
    case .none: return (false, false)
    case .queryKeyValue: return (true, false)
    case .configured(let key):
      let flag = try reader.flag(key, default: false)
      return (flag, flag)
    }
  }

  private static func windows(
    _ family: ModelFamily, _ reader: ConfigurationReader, layerCount: Int
  ) throws(ModelFileError) -> [Int?] {
    let none = [Int?](repeating: nil, count: layerCount)
    func window() throws(ModelFileError) -> Int? {
      if reader.isNull("sliding_window") { return nil }
      return try reader.optionalInteger("sliding_window", in: 1...(1 << 30)) ?? family.defaults.slidingWindow
    }
    switch family.window {
    case .none: return none
    case .everyLayer: return [Int?](repeating: try window(), count: layerCount)
    case .upperLayers:
      guard try reader.flag("use_sliding_window", default: false), let window = try window() else { return none }
      if let kinds = reader.object["layer_types"], !kinds.isNull {
        let names = (kinds.array ?? []).compactMap(\.string)
        guard names.count == layerCount, names.allSatisfy({ $0 == "full_attention" || $0 == "sliding_attention" })
        else {
          throw reader.fail(
            "layer_types", "must name full_attention or sliding_attention for each of the \(layerCount) layers")
        }
        return names.map { $0 == "sliding_attention" ? window : nil }
      }
      let first = try reader.integer(
        "max_window_layers", in: 0...(1 << 30), default: family.defaults.maxWindowLayers)
      return (0..<layerCount).map { $0 >= first ? window : nil }
    }
  }

  private static func checkpointType(_ reader: ConfigurationReader) throws(ModelFileError) -> ElementType? {
    let newer = try reader.string("dtype")
    let older = try reader.string("torch_dtype")
    switch newer ?? older {
    case "bfloat16", "torch.bfloat16": return .bfloat16
    case "float16", "half", "torch.float16": return .float16
    case "float32", "float", "torch.float32": return .float32
    default: return nil
    }
  }
}
