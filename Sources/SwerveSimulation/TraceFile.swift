package import SwerveCore
import SwerveScheduling

/// What is wrong with a trace file, in one sentence.
package struct TraceError: Error, Hashable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// Traces as JSON: recorded requests, or streams to make them up from.
///
///     {"requests": [{"arrival": 0.25, "prompt_tokens": 100, "output_tokens": 20, "class": "vip", "tenant": "acme",
///                    "priority": 0, "prefix_tokens": 0, "prefix": 0}, …]}
///     {"streams": [{"class": "vip", "tenant": "acme", "rate": 5, "arrivals": "poisson", "burst": 10,
///                   "prompt_tokens": [16, 512], "output_tokens": 64, "prefix_tokens": 0, "priority": 0,
///                   "start": 0, "seconds": 60}, …], "seconds": 600, "count": 100000, "seed": 1}
///
/// Times are seconds. Lengths are a number or the two ends of a range. What is missing has the default; what is unknown
/// is an error. A request without a class is of its tenant's class.
package enum TraceFile {
  /// Most tokens of one request.
  private static let longest = 1 << 24

  /// The requests of a file's text, in order of arrival.
  package static func requests(_ text: String, _ classes: ServiceClasses) throws(TraceError) -> [SimulatedRequest] {
    let json: JSON
    do {
      json = try JSON(parsing: text)
    } catch {
      throw TraceError("the trace is \(error)")
    }
    guard let object = json.object else { throw TraceError("the trace must be a JSON object, not \(json.kind)") }
    if object["streams"] != nil { return try workload(object).requests(classes) }
    guard let items = object["requests"]?.array, object.count == 1 else {
      throw TraceError("the trace must hold a list named requests, or one named streams")
    }
    var requests: [SimulatedRequest] = []
    requests.reserveCapacity(items.count)
    for (index, item) in items.enumerated() {
      requests.append(try request(Fields(item, "request \(index)"), classes))
    }
    // Equal arrivals keep the file's order: the sort is stable.
    requests.sort { $0.arrival < $1.arrival }
    return requests
  }

  private static func request(_ fields: Fields, _ classes: ServiceClasses) throws(TraceError) -> SimulatedRequest {
    try fields.check([
      "arrival", "prompt_tokens", "output_tokens", "class", "tenant", "priority", "prefix_tokens", "prefix",
    ])
    var request = SimulatedRequest(
      arrival: UInt64((try fields.number("arrival", 0...9e9) ?? 0) * 1e9),
      promptTokens: Int32(try fields.integer("prompt_tokens", 1...longest) ?? 128),
      outputTokens: Int32(try fields.integer("output_tokens", 1...longest) ?? 64))
    request.prefixTokens = Int32(try fields.integer("prefix_tokens", 0...longest) ?? 0)
    request.prefix = Int32(try fields.integer("prefix", 0...longest) ?? 0)
    request.priority = Int32(try fields.integer("priority", -1 << 31...(1 << 31) - 1) ?? 0)
    let tenant = try fields.string("tenant")
    request.tenant = WaitingRequest.number(ofTenant: tenant ?? "")
    var place = classes.index(tenant: tenant, serviceTier: nil)
    if let name = try fields.string("class") {
      guard let known = classes.index(named: name) else {
        throw TraceError("\(fields.name): there is no service class \(name)")
      }
      place = known
    }
    request.serviceClass = Int32(place)
    return request
  }

  private static func workload(_ object: JSONObject) throws(TraceError) -> Workload {
    let top = Fields(.object(object), "the trace")
    try top.check(["streams", "seconds", "count", "seed"])
    guard let items = object["streams"]?.array, !items.isEmpty else { throw TraceError("streams must be a list") }
    var streams: [Workload.Stream] = []
    for (index, item) in items.enumerated() { streams.append(try stream(Fields(item, "stream \(index)"))) }
    let seconds = try top.number("seconds", 0...9e9)
    return Workload(
      streams: streams, seconds: seconds ?? .infinity,
      count: try top.integer("count", 1...100_000_000) ?? (seconds == nil ? 10_000 : 100_000_000),
      seed: UInt64(try top.integer("seed", 0...Int.max) ?? 0))
  }

  private static func stream(_ fields: Fields) throws(TraceError) -> Workload.Stream {
    try fields.check([
      "class", "tenant", "priority", "rate", "arrivals", "burst", "prompt_tokens", "output_tokens", "prefix_tokens",
      "start", "seconds",
    ])
    var stream = Workload.Stream()
    stream.serviceClass = try fields.string("class") ?? stream.serviceClass
    stream.tenant = try fields.string("tenant") ?? stream.tenant
    stream.priority = try fields.integer("priority", -1 << 31...(1 << 31) - 1) ?? 0
    stream.rate = try fields.number("rate", 1e-6...1e6) ?? stream.rate
    if let word = try fields.string("arrivals") {
      guard let pattern = Workload.Arrivals(rawValue: word) else {
        throw TraceError("\(fields.name): arrivals must be poisson, bursts or uniform, not \(word)")
      }
      stream.arrivals = pattern
    }
    stream.burst = try fields.integer("burst", 1...1_000_000) ?? stream.burst
    stream.promptTokens = try fields.range("prompt_tokens", 1...longest) ?? stream.promptTokens
    stream.outputTokens = try fields.range("output_tokens", 1...longest) ?? stream.outputTokens
    stream.prefixTokens = try fields.integer("prefix_tokens", 0...longest) ?? 0
    stream.start = try fields.number("start", 0...9e9) ?? 0
    stream.seconds = try fields.number("seconds", 0...9e9) ?? .infinity
    return stream
  }
}

/// Members of one object, each checked.
private struct Fields {
  let object: JSONObject?
  let name: String

  init(_ value: JSON, _ name: String) {
    object = value.object
    self.name = name
  }

  func check(_ known: [String]) throws(TraceError) {
    guard let object else { throw TraceError("\(name) must be a JSON object") }
    for (key, _) in object where !known.contains(key) {
      throw TraceError("\(name) has no \(key); it takes \(known.joined(separator: ", "))")
    }
  }

  private func value<Value>(_ key: String, _ form: String, _ read: (JSON) -> Value?) throws(TraceError) -> Value? {
    guard let value = object?[key], !value.isNull else { return nil }
    guard let found = read(value) else { throw TraceError("\(name): \(key) must be \(form), not \(value.text)") }
    return found
  }

  func string(_ key: String) throws(TraceError) -> String? { try value(key, "a string") { $0.string } }

  func integer(_ key: String, _ range: ClosedRange<Int>) throws(TraceError) -> Int? {
    try value(key, "a whole number from \(range.lowerBound) to \(range.upperBound)") { json in
      json.int.flatMap { range.contains($0) ? $0 : nil }
    }
  }

  func number(_ key: String, _ range: ClosedRange<Double>) throws(TraceError) -> Double? {
    try value(key, "a number from \(range.lowerBound) to \(range.upperBound)") { json in
      json.double.flatMap { range.contains($0) ? $0 : nil }
    }
  }

  /// A number, or the two ends.
  func range(_ key: String, _ range: ClosedRange<Int>) throws(TraceError) -> ClosedRange<Int>? {
    try value(key, "a whole number, or two of them in a list, the smaller first") { json in
      if let number = json.int { return range.contains(number) ? number...number : nil }
      guard let ends = json.array, ends.count == 2, let low = ends[0].int, let high = ends[1].int, low <= high,
        range.contains(low), range.contains(high)
      else { return nil }
      return low...high
    }
  }
}
