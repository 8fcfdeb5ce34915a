import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// A model that topologies are compared over.
struct TopologyModel: Sendable, CustomTestStringConvertible {
  var name: String
  /// A fixture whose configuration it has; nil: the embedded model.
  var fixture: String?
  /// Members of `config.json` that differ; where there are some, weights are seeded noise.
  var overrides = JSONObject()
  var vocabulary: Int
  /// The most tensor ranks it can have.
  var mostTensor: Int

  var testDescription: String { name }

  /// Four layers, eight heads over four KV heads.
  private static func noise(_ fixture: String) -> TopologyModel {
    TopologyModel(
      name: fixture + ", noise", fixture: fixture,
      overrides: [
        "vocab_size": 2600, "hidden_size": 96, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "layer_types": .null,
        "max_position_embeddings": 512, "torch_dtype": .null, "dtype": .null,
      ], vocabulary: 2600, mostTensor: 4)
  }

  /// The layers of the half-billion model; fewer of them, and a smaller vocabulary, unless there is time.
  private static let half = TopologyModel(
    name: "0.5B shape", fixture: "qwen2",
    overrides: [
      "vocab_size": .int(isLong ? 151_936 : 4096), "hidden_size": 896, "intermediate_size": 4864,
      "num_hidden_layers": .int(isLong ? 24 : 2), "num_attention_heads": 14, "num_key_value_heads": 2,
      "max_position_embeddings": 1024, "max_window_layers": 24, "torch_dtype": .null,
    ], vocabulary: 4096, mostTensor: 2)

  static let families = RankIdentityTests.families
  static let all: [TopologyModel] =
    [TopologyModel(name: "story", fixture: nil, vocabulary: 4096, mostTensor: 2)]
    + families.map { noise($0) }
    + families.map { TopologyModel(name: $0, fixture: $0, vocabulary: 256, mostTensor: 1) } + [half]
}

/// Folders with models, and what they answer in one process: made once, used by all topologies.
actor TopologyModels {
  static let shared = TopologyModels()

  /// Removed with the process's temporary files at the end of a run.
  private let root = FileManager.default.temporaryDirectory.appending(path: "swerve-topologies-\(UUID().uuidString)")
  private var folders: [String: String] = [:]
  private var packed: [String: String] = [:]
  private var answers: [String: Task<[Answer], any Error>] = [:]

  deinit { try? FileManager.default.removeItem(at: root) }

  /// The folder to load; nil for the embedded model.
  private func folder(_ model: TopologyModel) throws -> String? {
    guard let fixture = model.fixture else { return nil }
    let original = RankIdentityTests.fixture(fixture)
    if model.overrides.keys.isEmpty { return original }
    if let known = folders[model.name] { return known }
    let made = root.appending(path: model.name.replacing(" ", with: "-"))
    try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
    let data = try Data(contentsOf: URL(filePath: original + "/config.json"))
    var config = try #require(try JSON(parsing: [UInt8](data)).object)
    for key in model.overrides.keys { config[key] = model.overrides[key] }
    try JSON.object(config).text.write(to: made.appending(path: "config.json"), atomically: false, encoding: .utf8)
    folders[model.name] = made.path()
    return made.path()
  }

  /// What all topologies of a model have in common.
  func configuration(
    _ model: TopologyModel, _ type: EngineConfiguration.DType, isPacked: Bool
  ) throws -> EngineConfiguration {
    let folder = try folder(model)
    var configuration = storyConfiguration {
      $0.modelFolder = folder
      $0.skipTokenizerInit = folder != nil
      $0.loadFormat = model.overrides.keys.isEmpty ? .safetensors : .dummy
      $0.dtype = type
      $0.seed = 7
      $0.kvCacheBytes = nil
      $0.kvBlocks = 144
      $0.maxModelLength = 192
      $0.maxSequences = 8
      $0.maxBatchedTokens = 256
      $0.threads = 2
    }
    guard isPacked else { return configuration }
    let key = model.name + type.rawValue
    if packed[key] == nil {
      let path = root.appending(path: "packed-\(packed.count)").path()
      try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
      _ = try PackedModel(configuration).write(to: path, overwrites: false) { _ in }
      packed[key] = path
    }
    configuration.modelFolder = packed[key]
    configuration.loadFormat = .packed
    return configuration
  }

  /// What one process answers, one request at a time.
  func expected(_ model: TopologyModel, _ type: EngineConfiguration.DType) async throws -> [Answer] {
    let key = model.name + type.rawValue
    if let known = answers[key] { return try await known.value }
    var configuration = try configuration(model, type, isPacked: false)
    configuration.enablePrefixCaching = false
    let asked = configuration
    let task = Task {
      let engine = try await Engine.start(asked)
      var all: [Answer] = []
      for request in topologyRequests(model) { all.append(try await engine.answer(request)) }
      await engine.stop()
      return all
    }
    answers[key] = task
    return try await task.value
  }
}

/// Greedy and seeded, with log-probabilities, of many lengths: 8 in continuous integration, 64 with SWERVE_LONG=1.
func topologyRequests(_ model: TopologyModel) -> [GenerationRequest] {
  (0..<(isLong ? 64 : 8)).map { index in
    let length = 3 + index * 23 % 90
    let prompt = (0..<length).map { TokenID(($0 * 37 + index % 3 * 11) % (model.vocabulary - 12) + 11) }
    var params = SamplingParams(temperature: index % 2 == 0 ? 0 : 0.9, maxTokens: 8 + index % 5)
    params.seed = index
    params.topP = index % 4 == 1 ? 0.9 : 1
    params.ignoreEos = true
    params.logprobs = 3
    if index == 6 { params.promptLogprobs = 1 }
    return GenerationRequest(id: "t\(index)", prompt: .tokens(prompt), params: params)
  }
}
