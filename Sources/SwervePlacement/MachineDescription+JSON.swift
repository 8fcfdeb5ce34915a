import SwerveCore

extension MachineDescription {
  /// A machine from a file, for plans of machines that are not there:
  ///
  ///     {"devices": [{"name": "gpu0", "memory_gib": 80, "read_gb_s": 3350, "tflops": 990, "count": 8}, …],
  ///      "link": {"latency_us": 8, "gb_s": 450}, "disk_gb_s": 6, "host_gb_s": 55}
  package init(parsing text: String) throws(PlacementError) {
    let json: JSON
    do { json = try JSON(parsing: text) } catch { throw PlacementError("it is \(error)") }
    guard let object = json.object else { throw PlacementError("it must hold a JSON object, not \(json.kind)") }
    try Self.check(object, ["devices", "link", "disk_gb_s", "host_gb_s"], "the machine")
    guard let items = object["devices"]?.array, !items.isEmpty else {
      throw PlacementError("devices must be a list of at least one device")
    }
    var devices: [DeviceDescription] = []
    for (index, item) in items.enumerated() {
      let place = "device \(index)"
      guard let item = item.object else { throw PlacementError("\(place) must be an object") }
      try Self.check(item, ["name", "memory_gib", "read_gb_s", "tflops", "count"], place)
      let device = DeviceDescription(
        name: item["name"]?.string ?? place, memoryBytes: try Self.number(item, "memory_gib", place) * Double(1 << 30),
        bytesPerSecond: try Self.number(item, "read_gb_s", place) * 1e9,
        operationsPerSecond: try Self.number(item, "tflops", place) * 1e12)
      let count = item["count"]?.int ?? 1
      guard (1...10_000).contains(count) else { throw PlacementError("\(place): count must be between 1 and 10000") }
      for copy in 0..<count {
        var one = device
        if count > 1 { one.name += ":\(copy)" }
        devices.append(one)
      }
    }
    var link = LinkDescription(latencySeconds: 10e-6, bytesPerSecond: 10e9)
    if let item = object["link"]?.object {
      try Self.check(item, ["latency_us", "gb_s"], "the link")
      link = LinkDescription(
        latencySeconds: try Self.number(item, "latency_us", "the link") * 1e-6,
        bytesPerSecond: try Self.number(item, "gb_s", "the link") * 1e9)
    }
    let disk = object["disk_gb_s"] == nil ? nil : try Self.number(object, "disk_gb_s", "the machine") * 1e9
    let host = object["host_gb_s"] == nil ? 20e9 : try Self.number(object, "host_gb_s", "the machine") * 1e9
    self.init(devices: devices, link: link, diskBytesPerSecond: disk, hostBytesPerSecond: host)
  }

  private static func check(_ object: JSONObject, _ known: [String], _ place: String) throws(PlacementError) {
    for (key, _) in object where !known.contains(key) {
      throw PlacementError("\(place) has no \(key); it takes \(known.joined(separator: ", "))")
    }
  }

  private static func number(_ object: JSONObject, _ key: String, _ place: String) throws(PlacementError) -> Double {
    guard let value = object[key]?.double, (1e-6...1e9).contains(value) else {
      throw PlacementError("\(place): \(key) must be a number between 0.000001 and 1000000000")
    }
    return value
  }
}
