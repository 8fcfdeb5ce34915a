import SwerveCore

/// Reads members of a configuration object into types. Every complaint names the file and the member with its dotted
/// path; null counts as absent, as it does for the library that writes these files.
struct ConfigurationReader {
  let object: JSONObject
  /// The file's name in error sentences.
  let file: String
  /// Dotted path of `object` inside the file, empty at the top.
  var path = ""

  func has(_ key: String) -> Bool { object[key].map { !$0.isNull } ?? false }

  /// Whether the member is there and is null, for the few whose default is not null.
  func isNull(_ key: String) -> Bool { object[key]?.isNull ?? false }

  func fail(_ key: String, _ reason: String) -> ModelFileError {
    ModelFileError(file: file, reason: "\(name(key)) \(reason)")
  }

  private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  func integer(_ key: String, in range: ClosedRange<Int>, default fallback: Int? = nil) throws(ModelFileError) -> Int {
    if let value = try optionalInteger(key, in: range) { return value }
    guard let fallback else {
      throw fail(key, "is missing; it must be an integer between \(range.lowerBound) and \(range.upperBound)")
    }
    return fallback
  }

  func optionalInteger(_ key: String, in range: ClosedRange<Int>) throws(ModelFileError) -> Int? {
    guard let value = object[key], !value.isNull else { return nil }
    guard let number = value.int, range.contains(number) else {
      throw fail(
        key, "must be an integer between \(range.lowerBound) and \(range.upperBound), not \(Self.shown(value))")
    }
    return number
  }

  /// A finite number in the range.
  func number(_ key: String, in range: ClosedRange<Double>, default fallback: Double? = nil) throws(ModelFileError)
    -> Double
  {
    if let value = try optionalNumber(key, in: range) { return value }
    guard let fallback else {
      throw fail(key, "is missing; it must be a number between \(range.lowerBound) and \(range.upperBound)")
    }
    return fallback
  }

  func optionalNumber(_ key: String, in range: ClosedRange<Double>) throws(ModelFileError) -> Double? {
    guard let value = object[key], !value.isNull else { return nil }
    guard let number = value.double, range.contains(number) else {
      throw fail(
        key, "must be a number between \(range.lowerBound) and \(range.upperBound), not \(Self.shown(value))")
    }
    return number
  }

  func flag(_ key: String, default fallback: Bool) throws(ModelFileError) -> Bool {
    guard let value = object[key], !value.isNull else { return fallback }
    guard let flag = value.bool else { throw fail(key, "must be true or false, not \(Self.shown(value))") }
    return flag
  }

  func string(_ key: String) throws(ModelFileError) -> String? {
    guard let value = object[key], !value.isNull else { return nil }
    guard let text = value.string else { throw fail(key, "must be a string, not \(Self.shown(value))") }
    return text
  }

  func nested(_ key: String) throws(ModelFileError) -> ConfigurationReader? {
    guard let value = object[key], !value.isNull else { return nil }
    guard let object = value.object else { throw fail(key, "must be an object, not \(Self.shown(value))") }
    return ConfigurationReader(object: object, file: file, path: name(key))
  }

  /// A token id or a list of them, as `eos_token_id` is written.
  func tokens(_ key: String, vocabulary: Int) throws(ModelFileError) -> [TokenID] {
    guard let value = object[key], !value.isNull else { return [] }
    var tokens: [TokenID] = []
    for item in value.array ?? [value] {
      guard let id = item.int, (0..<Int(Int32.max)).contains(id) else {
        throw fail(key, "must be a token id or a list of them, not \(Self.shown(value))")
      }
      // An id beyond the vocabulary cannot be produced; some published files have one.
      if id < vocabulary { tokens.append(TokenID(id)) }
    }
    return tokens
  }

  private static func shown(_ value: JSON) -> String {
    switch value {
    case .array, .object: value.kind
    default: quoteless(value.text)
    }
  }

  private static func quoteless(_ text: String) -> String { text.count > 80 ? text.prefix(80) + "…" : text }
}
