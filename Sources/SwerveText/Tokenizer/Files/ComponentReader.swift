import SwerveCore

/// Why a component of a tokenizer cannot be used: where in the file, and what is wrong.
struct ComponentError: Error {
  var path: String
  var reason: String

  var sentence: String { path.isEmpty ? reason : "\(path): \(reason)" }
}

/// One JSON object of `tokenizer.json` with its path for error sentences.
struct Component {
  let value: JSON
  let path: String

  init(_ value: JSON, path: String) {
    self.value = value
    self.path = path
  }

  func error(_ reason: String) -> ComponentError { ComponentError(path: path, reason: reason) }

  /// The component's `type`.
  func type() throws(ComponentError) -> String {
    guard let object = value.object else { throw error("expected an object with a type, found \(value.kind)") }
    guard let type = object["type"]?.string else { throw error("the component has no type") }
    return type
  }

  func unknown(_ type: String, known: [String]) -> ComponentError {
    error("unknown type '\(type)'; these work: \(known.joined(separator: ", "))")
  }

  func bool(_ name: String, default standard: Bool) throws(ComponentError) -> Bool {
    guard let value = value[name], !value.isNull else { return standard }
    guard let bool = value.bool else { throw error("\(name) must be true or false, not \(value.kind)") }
    return bool
  }

  func string(_ name: String, default standard: String? = nil) throws(ComponentError) -> String {
    guard let value = value[name], !value.isNull else {
      if let standard { return standard }
      throw error("\(name) is missing")
    }
    guard let string = value.string else { throw error("\(name) must be a string, not \(value.kind)") }
    return string
  }

  func int(_ name: String, default standard: Int, in range: ClosedRange<Int>) throws(ComponentError) -> Int {
    guard let value = value[name], !value.isNull else { return standard }
    guard let int = value.int, range.contains(int) else {
      throw error("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return int
  }

  /// The only character of a string.
  func scalar(_ name: String, default standard: String? = nil) throws(ComponentError) -> UInt32 {
    let text = try string(name, default: standard)
    guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw error("\(name) must be a single character, not '\(text)'")
    }
    return scalar.value
  }

  /// The components of a list, each with its place in the path.
  func list(_ name: String) throws(ComponentError) -> [Component] {
    guard let items = value[name]?.array else { throw error("\(name) must be a list") }
    guard path.utf8.filter({ $0 == UInt8(ascii: "[") }).count < 32 else { throw error("sequences nested too deeply") }
    return items.enumerated().map { Component($0.element, path: "\(path).\(name)[\($0.offset)]") }
  }

  /// `{"String": …}` or `{"Regex": …}`.
  func pattern() throws(ComponentError) -> Pattern {
    guard let pattern = value["pattern"] else { throw error("pattern is missing") }
    if let literal = pattern.string ?? pattern["String"]?.string { return Pattern(literal: literal) }
    guard let expression = pattern["Regex"]?.string else {
      throw error("pattern must be {\"String\": …} or {\"Regex\": …}")
    }
    do {
      return try Pattern(expression: expression)
    } catch {
      throw self.error("the pattern '\(expression)' cannot be used: \(error)")
    }
  }
}
