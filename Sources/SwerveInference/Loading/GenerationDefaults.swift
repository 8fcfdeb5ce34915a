package import SwerveCore

/// What generation_config.json says: the tokens that end a sequence and the sampling values a request inherits.
package struct GenerationDefaults: Sendable, Hashable {
  /// End-of-sequence ids of generation_config.json and config.json together; sorted, unique.
  package var endTokens: [TokenID] = []
  /// Sampling defaults under the file's own keys (`temperature`, `top_p`, `top_k`, `min_p`, `repetition_penalty`,
  /// `max_new_tokens`), numbers within their ranges.
  package var sampling = JSONObject()

  package static let fileName = "generation_config.json"

  /// Reads the file (none is fine) and lets `overrides` (`--override-generation-config`) replace its members.
  ///
  /// - Parameter usesFile: false leaves the file's sampling defaults out (`--generation-config vllm`); the
  ///   end-of-sequence ids are facts about the model and are always taken.
  package init(
    _ files: ModelFiles, configuration: ModelConfiguration, usesFile: Bool = true, overrides: JSONObject = JSONObject()
  ) throws(ModelFileError) {
    let json = try files.json(Self.fileName)
    try self.init(
      json, configuration: configuration, usesFile: usesFile, overrides: overrides, file: files.path(Self.fileName))
  }

  package init(
    _ json: JSON?, configuration: ModelConfiguration, usesFile: Bool = true, overrides: JSONObject = JSONObject(),
    file: String
  ) throws(ModelFileError) {
    var object = JSONObject()
    if let json {
      guard let members = json.object else {
        throw ModelFileError(file: file, reason: "must be an object, not \(json.kind)")
      }
      object = members
    }
    let fromFile = ConfigurationReader(object: object, file: file)
    var ends = Set(configuration.endTokens)
    ends.formUnion(try fromFile.tokens("eos_token_id", vocabulary: configuration.vocabularySize))
    let fromOverrides = ConfigurationReader(object: overrides, file: "--override-generation-config")
    if fromOverrides.has("eos_token_id") {
      ends = Set(try fromOverrides.tokens("eos_token_id", vocabulary: configuration.vocabularySize))
    }
    endTokens = ends.sorted()
    if usesFile { try take(fromFile) }
    try take(fromOverrides)
  }

  private mutating func take(_ reader: ConfigurationReader) throws(ModelFileError) {
    let numbers: [(String, ClosedRange<Double>)] = [
      ("temperature", 0...2), ("top_p", 0...1), ("min_p", 0...1), ("repetition_penalty", 1e-6...1e6),
    ]
    for (key, range) in numbers {
      if let value = try reader.optionalNumber(key, in: range) { sampling[key] = .double(value) }
    }
    // Writers of such files turn top-p off with 0 as well as with 1.
    if sampling["top_p"] == .double(0) { sampling["top_p"] = .double(1) }
    if let value = try reader.optionalInteger("top_k", in: -1...(1 << 30)) { sampling["top_k"] = .int(value) }
    if let value = try reader.optionalInteger("max_new_tokens", in: 1...(1 << 30)) {
      sampling["max_new_tokens"] = .int(value)
    }
  }
}
