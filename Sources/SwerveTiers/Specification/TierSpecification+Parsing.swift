extension TierSpecification {
  private static let order = ["device", "host", "nvme"]

  /// Reads the flag. Throws one sentence about the first part that is wrong.
  package init(parsing text: String) throws(TierError) {
    self.init()
    var last = -1
    for part in text.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
      guard !part.isEmpty else {
        throw .specification(
          part: text, reason: "holds an empty tier; write tiers as device=auto,host=32GiB,nvme=500GiB:/folder")
      }
      let name = String(part.prefix { $0 != "=" && $0 != ":" })
      if name == "remote" {
        throw .specification(part: part, reason: "is not available: this build has the tiers device, host and nvme")
      }
      guard let place = Self.order.firstIndex(of: name) else {
        throw .specification(part: part, reason: "names no tier; the tiers are device, host and nvme")
      }
      guard place != last else { throw .specification(part: part, reason: "is there twice; give each tier once") }
      guard place > last else {
        throw .specification(
          part: part, reason: "comes after a slower tier; the order is device, host, nvme")
      }
      last = place
      let rest = part.dropFirst(name.count)
      guard rest.first == "=" || (rest.isEmpty && name == "device") else {
        throw .specification(part: part, reason: "has no size; write \(Self.example(name))")
      }
      let fields = rest.dropFirst().split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      try read(part, name, rest.isEmpty ? ["auto"] : fields)
    }
  }

  private static func example(_ name: String) -> String {
    switch name {
    case "device": "device=auto"
    case "host": "host=32GiB"
    default: "nvme=500GiB:/folder"
    }
  }

  /// `fields`: what stands between the colons, the size first.
  private mutating func read(_ part: String, _ name: String, _ fields: [String]) throws(TierError) {
    if name == "device", fields == ["auto"] { return }
    guard let bytes = Self.bytes(fields[0]) else {
      throw .specification(
        part: part,
        reason: "has no size that is a positive number with KiB, MiB, GiB, TiB or no unit; write "
          + Self.example(name))
    }
    switch name {
    case "device":
      guard fields.count == 1 else {
        throw .specification(
          part: part, reason: "has options; the device's type is --kv-cache-dtype, and it has no others")
      }
      device = .bytes(bytes)
    case "host":
      var options = Options()
      try Self.read(part, fields.dropFirst(), into: &options)
      guard !options.isReadOnly else {
        throw .specification(part: part, reason: "cannot be read-only, as it starts empty; leave readonly to nvme")
      }
      host = Host(capacityBytes: bytes, options: options)
    default:
      guard fields.count > 1, fields[1].hasPrefix("/") else {
        throw .specification(part: part, reason: "has no absolute folder; write nvme=500GiB:/folder")
      }
      var options = Options()
      try Self.read(part, fields.dropFirst(2), into: &options)
      nvme = Files(capacityBytes: bytes, folder: fields[1], options: options)
    }
  }

  private static func read(
    _ part: String, _ fields: ArraySlice<String>, into options: inout Options
  ) throws(TierError) {
    var seen: Set<String> = []
    for field in fields {
      let key = String(field.prefix { $0 != "=" })
      let value = field.count > key.count ? String(field.dropFirst(key.count + 1)) : nil
      guard seen.insert(key).inserted else {
        throw .specification(part: part, reason: "gives '\(key)' twice; give it once")
      }
      switch (key, value) {
      case ("readonly", nil): options.isReadOnly = true
      case ("dtype", "auto"): options.precision = .exact
      case ("dtype", "int8"): options.precision = .int8
      case ("dtype", "int4"): options.precision = .int4
      case ("dtype", _):
        throw .specification(part: part, reason: "has an unknown dtype; it may be auto (exact), int8 or int4")
      case ("policy", "lru"): options.policy = .lru
      case ("policy", "cost"): options.policy = .cost
      case ("policy", _): throw .specification(part: part, reason: "has an unknown policy; it may be lru or cost")
      default:
        throw .specification(
          part: part, reason: "has the unknown option '\(field)'; options are dtype=, policy= and readonly")
      }
    }
  }

  /// A positive number of bytes, or nil.
  static func bytes(_ text: String) -> Int? {
    let units: [(String, Double)] = [
      ("kib", 0x1p10), ("mib", 0x1p20), ("gib", 0x1p30), ("tib", 0x1p40), ("kb", 1e3), ("mb", 1e6), ("gb", 1e9),
      ("tb", 1e12), ("", 1),
    ]
    let lower = text.lowercased()
    guard let (suffix, scale) = units.first(where: { lower.hasSuffix($0.0) }) else { return nil }
    let digits = lower.dropLast(suffix.count)
    guard !digits.isEmpty, digits.allSatisfy({ "0123456789.".contains($0) }), let number = Double(digits) else {
      return nil
    }
    let bytes = (number * scale).rounded(.down)
    return bytes >= 1 && bytes < 0x1p62 ? Int(bytes) : nil
  }
}
