import SwerveCore

/// What a model needs of a repository's files: configuration, tokenizer, templates and safetensors weights, all at the
/// top level. Other formats of the same weights (`.bin`, `.pt`, `.gguf`, `original/`) stay where they are.
enum HubFileSelection {
  static let indexName = "model.safetensors.index.json"

  private static let exactNames: Set<String> = [
    "config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "tekken.json", "params.json", "quantize_config.json",
  ]

  /// The small files, in listing order; `.model` brings the shard index too.
  static func smallFiles(of names: [String], for set: HubFileSet) -> [String] {
    names.filter { name in
      if name == indexName { return set == .model }
      if name.hasPrefix("additional_chat_templates/") { return name.hasSuffix(".jinja") }
      guard !name.contains("/"), !isWeights(name) else { return false }
      return exactNames.contains(name) || name.hasPrefix("tokenizer") || name.hasPrefix("chat_template")
        || name.hasSuffix(".model") || name.hasSuffix(".jinja") || name.hasSuffix(".tiktoken")
    }
  }

  /// The safetensors files: those of the index where there is one, else `model.safetensors`, else every one at the top
  /// level. Throws where there is none, or where the index names a file that the repository does not have.
  static func weightFiles(of names: [String], index: JSON?, reference: HubReference) throws(HubError) -> [String] {
    if let index {
      guard let shards = shards(ofIndex: index) else {
        throw .unexpected(
          "\(reference)/\(indexName)", reason: "it has no weight_map with the names of safetensors files")
      }
      for shard in shards where !names.contains(shard) { throw .fileNotFound(reference, file: shard) }
      return shards
    }
    if names.contains("model.safetensors") { return ["model.safetensors"] }
    let all = names.filter { !$0.contains("/") && $0.hasSuffix(".safetensors") }
    if !all.isEmpty { return all }
    let others = [".gguf", ".bin", ".pt", ".pth", ".onnx"].filter { ending in names.contains { $0.hasSuffix(ending) } }
    throw .noWeights(
      reference.repository, found: others.isEmpty ? "" : ", only \(others.joined(separator: ", ")) files")
  }

  /// The files an index names, each once, sorted; nil where it names none or an unsafe one.
  static func shards(ofIndex index: JSON) -> [String]? {
    guard let map = index["weight_map"]?.object, !map.isEmpty else { return nil }
    var shards = Set<String>()
    for value in map.values {
      guard let name = value.string, SafeName.isRelative(name) else { return nil }
      shards.insert(name)
    }
    return shards.sorted()
  }

  private static func isWeights(_ name: String) -> Bool {
    [".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"].contains { name.hasSuffix($0) }
  }
}
