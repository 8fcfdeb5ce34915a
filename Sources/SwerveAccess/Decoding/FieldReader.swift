import SwerveCore

/// Reads the members of one JSON object as typed values, for every wire alike.
///
/// A member that is absent or `null` reads as nil. A member of another type is a 400 whose `param` is the dotted path
/// (`messages.0.content`) and whose sentence names what was expected and what came. Members nobody reads are ignored.
struct FieldReader {
  let object: JSONObject
  /// Dotted path of `object` inside the request; empty at the top.
  let path: String

  init(_ object: JSONObject, path: String = "") {
    self.object = object
    self.path = path
  }

  /// The whole request body. Anything but an object is a 400.
  init(body: JSON) throws(RequestError) {
    guard case .object(let object) = body else {
      throw .badRequest("The request body must be a JSON object, got \(body.kind).")
    }
    self.init(object)
  }

  func path(of name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

  /// The member, unless absent or `null`.
  func value(_ name: String) -> JSON? {
    guard let value = object[name], !value.isNull else { return nil }
    return value
  }

  func has(_ name: String) -> Bool { value(name) != nil }

  func mismatch(_ name: String, expected: String, got value: JSON) -> RequestError {
    let path = path(of: name)
    return .badRequest("\(path) must be \(expected), got \(value.kind).", param: path)
  }

  // MARK: Scalars

  func string(_ name: String) throws(RequestError) -> String? {
    guard let value = value(name) else { return nil }
    guard let string = value.string else { throw mismatch(name, expected: "a string", got: value) }
    return string
  }

  func bool(_ name: String) throws(RequestError) -> Bool? {
    guard let value = value(name) else { return nil }
    guard let bool = value.bool else { throw mismatch(name, expected: "a boolean", got: value) }
    return bool
  }

  /// An integer, also written with a zero fraction (`16.0`), within 64 bits.
  func int(_ name: String) throws(RequestError) -> Int? {
    guard let value = value(name) else { return nil }
    guard let int = value.int else { throw mismatch(name, expected: "an integer", got: value) }
    return int
  }

  func int(_ name: String, in range: ClosedRange<Int>) throws(RequestError) -> Int? {
    guard let int = try int(name) else { return nil }
    guard range.contains(int) else {
      let path = path(of: name)
      let bounds =
        range.upperBound == .max ? "\(range.lowerBound) or more" : "between \(range.lowerBound) and \(range.upperBound)"
      throw .badRequest("\(path) must be \(bounds), got \(int).", param: path)
    }
    return int
  }

  /// A finite number.
  func number(_ name: String) throws(RequestError) -> Double? {
    guard let value = value(name) else { return nil }
    guard let double = value.double else { throw mismatch(name, expected: "a number", got: value) }
    guard double.isFinite else {
      throw .badRequest("\(path(of: name)) must be a finite number.", param: path(of: name))
    }
    return double
  }

  /// A finite number that is still finite in single precision.
  func float(_ name: String) throws(RequestError) -> Float? {
    guard let double = try number(name) else { return nil }
    let float = Float(double)
    guard float.isFinite else {
      throw .badRequest("\(path(of: name)) is out of range: \(double).", param: path(of: name))
    }
    return float
  }

  // MARK: Composites

  func object(_ name: String) throws(RequestError) -> JSONObject? {
    guard let value = value(name) else { return nil }
    guard let object = value.object else { throw mismatch(name, expected: "an object", got: value) }
    return object
  }

  func array(_ name: String) throws(RequestError) -> [JSON]? {
    guard let value = value(name) else { return nil }
    guard let array = value.array else { throw mismatch(name, expected: "a list", got: value) }
    return array
  }

  func strings(_ name: String) throws(RequestError) -> [String]? {
    guard let array = try array(name) else { return nil }
    var strings: [String] = []
    strings.reserveCapacity(array.count)
    for (place, item) in array.enumerated() {
      guard let string = item.string else { throw mismatch("\(name).\(place)", expected: "a string", got: item) }
      strings.append(string)
    }
    return strings
  }

  func tokens(_ name: String) throws(RequestError) -> [TokenID]? {
    guard let array = try array(name) else { return nil }
    return try tokens(array, name)
  }

  /// Token ids: integers ≥ 0 that fit 32 bits. Whether the vocabulary has them is checked later.
  func tokens(_ array: [JSON], _ name: String) throws(RequestError) -> [TokenID] {
    var tokens: [TokenID] = []
    tokens.reserveCapacity(array.count)
    for (place, item) in array.enumerated() {
      guard let int = item.int else { throw mismatch("\(name).\(place)", expected: "a token id", got: item) }
      guard let id = Int32(exactly: int), id >= 0 else {
        let path = path(of: "\(name).\(place)")
        throw .badRequest("\(path) must be a token id of 0 or more, got \(int).", param: path)
      }
      tokens.append(TokenID(rawValue: id))
    }
    return tokens
  }
}
