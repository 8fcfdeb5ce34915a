import SwerveCore

extension Flag.Kind {
  /// Turns text into a value of this kind. Throws what is wrong, to be put after the flag's name.
  package func parse(_ text: String) throws(FlagError) -> FlagValue {
    switch self {
    case .bool:
      guard let value = Self.bool(text) else { throw FlagError("needs true or false, not \(text.debugDescription)") }
      return .bool(value)
    case .int(let words):
      if let value = words[text.lowercased()] { return .int(value) }
      guard let value = Self.integer(text) else {
        let others = words.keys.sorted().map { " or \($0)" }.joined()
        throw FlagError("needs a whole number (also 8k, 8K, 2M)\(others), not \(text.debugDescription)")
      }
      return .int(value)
    case .size:
      guard let value = Self.bytes(text, unit: 1) else {
        throw FlagError("needs a size such as 512MiB or 4GB, not \(text.debugDescription)")
      }
      return .int(value)
    case .gibibytes:
      guard let value = Self.bytes(text, unit: 1 << 30) else {
        throw FlagError("needs a number of GiB or a size such as 512MiB, not \(text.debugDescription)")
      }
      return .int(value)
    case .double:
      guard let value = Double(text), !value.isNaN else {
        throw FlagError("needs a number, not \(text.debugDescription)")
      }
      return .double(value)
    case .string: return .string(text)
    case .choice(let words):
      guard let value = words[text.lowercased()] else {
        let known = words.keys.sorted().joined(separator: ", ")
        throw FlagError("must be one of \(known), not \(text.debugDescription)")
      }
      return .string(value)
    case .list:
      guard text.hasPrefix("[") else { return .list([text]) }
      do {
        let items = try JSON(parsing: text).array ?? []
        return .list(items.map { $0.string ?? $0.text })
      } catch {
        throw FlagError("looks like a JSON list but is \(error)")
      }
    case .json:
      do { return .json(try JSON(parsing: text)) } catch { throw FlagError("needs JSON: \(error)") }
    }
  }

  static func bool(_ text: String) -> Bool? {
    switch text.lowercased() {
    case "true", "1", "yes", "on": true
    case "false", "0", "no", "off": false
    default: nil
    }
  }

  /// `1k` = 1000, `1K` = 1024, `2m`, `2M`, `1g`, `1G`, `1.5k`; nil where the text is no whole number that fits.
  static func integer(_ text: String) -> Int? {
    if let value = Int(text) { return value }
    guard let last = text.last else { return nil }
    let factor: Double
    switch last {
    case "k": factor = 1e3
    case "K": factor = 1024
    case "m": factor = 1e6
    case "M": factor = 1_048_576
    case "g": factor = 1e9
    case "G": factor = 1_073_741_824
    default: return nil
    }
    return whole(text.dropLast(), factor)
  }

  /// A size in bytes; a number without a unit counts in `unit`.
  static func bytes(_ text: String, unit: Int) -> Int? {
    let digits = text.prefix { $0.isNumber || $0 == "." || $0 == "-" || $0 == "+" }
    let factor: Double
    switch text.dropFirst(digits.count).drop(while: { $0 == " " }) {
    case "": factor = Double(unit)
    case "b", "B": factor = 1
    case "k", "kB", "KB", "kb": factor = 1e3
    case "K", "KiB", "kib": factor = 1024
    case "m", "MB", "mb": factor = 1e6
    case "M", "MiB", "mib": factor = 1_048_576
    case "g", "GB", "gb": factor = 1e9
    case "G", "GiB", "gib": factor = 1_073_741_824
    case "t", "TB", "tb": factor = 1e12
    case "T", "TiB", "tib": factor = 1_099_511_627_776
    default: return nil
    }
    guard let value = whole(digits, factor), value >= 0 else { return nil }
    return value
  }

  private static func whole(_ digits: Substring, _ factor: Double) -> Int? {
    guard let number = Double(digits), !digits.contains("e"), !digits.contains("E"), !digits.contains("x") else {
      return nil
    }
    let product = number * factor
    return factor >= 1024 && product != product.rounded() ? Int(exactly: product.rounded(.down)) : Int(exactly: product)
  }
}
