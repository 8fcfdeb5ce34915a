/// What a group of requests was promised: its share of the machine and its targets. Written by the operator as one JSON
/// member: `"vip": {"ttft_ms": 300, "tpot_ms": 50, "weight": 8, "max_share": 1, "preempt": true, "tenants": ["acme"]}`.
public struct ServiceClass: Sendable, Hashable {
  /// Name in metrics and reports.
  public var name: String
  /// Milliseconds from arrival to first token; nil = no target.
  public var ttftMilliseconds: Double?
  /// Milliseconds between tokens; nil = no target.
  public var tpotMilliseconds: Double?
  /// Share of the computed tokens against others, 0.001 … 1000.
  public var weight = 1.0
  /// Most of the slots and KV blocks it may hold, (0, 1].
  public var maxShare = 1.0
  /// Whether sequences of lower classes give their place to this one's.
  public var preempts = false
  /// Tenants whose requests are of this class.
  public var tenants: [String] = []
  /// Values of a request's `service_tier` that choose this class; whoever may call may choose them.
  public var serviceTiers: [String] = []

  public init(name: String) { self.name = name }
}

/// All service classes, in the operator's order. One of them is named `default`: requests that nothing else places are of
/// that class.
public struct ServiceClasses: Sendable, Hashable {
  public private(set) var all: [ServiceClass] = []
  /// Place of the class named `default`.
  public private(set) var defaultIndex = 0
  private var indexOfTenant: [String: Int] = [:]
  private var indexOfTier: [String: Int] = [:]

  /// Most classes there can be.
  public static let limit = 64

  /// The class `default` alone: weight 1, no targets.
  public init() { all = [ServiceClass(name: "default")] }

  /// Reads `{"name": {…}, …}`; `default` is added where it is missing. Throws one sentence for everything that is wrong.
  public init(_ object: JSONObject) throws(ServiceClassError) {
    var problems: [String] = []
    for (name, value) in object {
      guard let members = value.object else {
        problems.append("service class \(name) must be a JSON object, not \(value.kind).")
        continue
      }
      all.append(Self.read(name, members, &problems))
    }
    if !all.contains(where: { $0.name == "default" }) { all.append(ServiceClass(name: "default")) }
    defaultIndex = all.firstIndex { $0.name == "default" } ?? 0
    if all.count > Self.limit { problems.append("there are \(all.count) service classes; at most \(Self.limit) fit.") }
    for (index, entry) in all.enumerated() {
      for tenant in entry.tenants where indexOfTenant.updateValue(index, forKey: tenant) != nil {
        problems.append("tenant \(tenant) is in two service classes.")
      }
      for tier in entry.serviceTiers where indexOfTier.updateValue(index, forKey: tier) != nil {
        problems.append("service tier \(tier) is in two service classes.")
      }
    }
    if !problems.isEmpty { throw ServiceClassError(problems: problems) }
  }

  /// The place of a request's class: its tenant's, else its tier's, else `default`.
  public func index(tenant: String?, serviceTier: String?) -> Int {
    tenant.flatMap { indexOfTenant[$0] } ?? serviceTier.flatMap { indexOfTier[$0] } ?? defaultIndex
  }

  public func index(named name: String) -> Int? { all.firstIndex { $0.name == name } }

  private static func read(_ name: String, _ members: JSONObject, _ problems: inout [String]) -> ServiceClass {
    var entry = ServiceClass(name: name)
    for (key, value) in members {
      let isRead =
        switch key {
        case "ttft_ms": number(value, 1e-3...1e9) { entry.ttftMilliseconds = $0 }
        case "tpot_ms": number(value, 1e-3...1e9) { entry.tpotMilliseconds = $0 }
        case "weight": number(value, 1e-3...1e3) { entry.weight = $0 }
        case "max_share": number(value, 1e-6...1) { entry.maxShare = $0 }
        case "preempt": value.bool.map { entry.preempts = $0 } != nil
        case "tenants": words(value) { entry.tenants = $0 }
        case "service_tiers": words(value) { entry.serviceTiers = $0 } && entry.serviceTiers.allSatisfy(tiers.contains)
        default: false
        }
      if !isRead {
        problems.append(
          forms[key].map { "service class \(name): \(key) must be \($0), not \(value.text)." }
            ?? "service class \(name) has no \(key); it takes \(forms.keys.sorted().joined(separator: ", ")).")
      }
    }
    return entry
  }

  private static let forms = [
    "ttft_ms": "milliseconds greater than 0", "tpot_ms": "milliseconds greater than 0",
    "weight": "a number between 0.001 and 1000", "max_share": "a number greater than 0 and at most 1",
    "preempt": "true or false", "tenants": "a list of names",
    "service_tiers": "a list of auto, default, flex and priority",
  ]

  /// What requests may say.
  private static let tiers: Set = ["auto", "default", "flex", "priority"]

  private static func number(_ value: JSON, _ range: ClosedRange<Double>, _ write: (Double) -> Void) -> Bool {
    guard let number = value.double, range.contains(number) else { return false }
    write(number)
    return true
  }

  private static func words(_ value: JSON, _ write: ([String]) -> Void) -> Bool {
    guard let items = value.array else { return false }
    let words = items.compactMap(\.string)
    if words.count != items.count || words.contains("") { return false }
    write(words)
    return true
  }
}

/// What is wrong with a set of service classes.
public struct ServiceClassError: Error, Hashable, CustomStringConvertible {
  public var problems: [String]
  public var description: String { problems.joined(separator: " ") }
}
