/// The flags of one command, found by any of their names.
package struct FlagTable: Sendable {
  package let flags: [Flag]
  private let byName: [String: (place: Int, isOpposite: Bool)]
  private let byShortName: [String: Int]

  /// Where two flags share a name, the earlier wins: a command puts its own before the engine's.
  package init(_ groups: [Flag]...) {
    flags = groups.flatMap { $0 }
    var byName: [String: (place: Int, isOpposite: Bool)] = [:]
    var byShortName: [String: Int] = [:]
    for (place, flag) in flags.enumerated() where flag.section != .environment {
      for name in [flag.name] + flag.aliases {
        let isOpposite = name.hasPrefix("!")
        let plain = isOpposite ? String(name.dropFirst()) : name
        if byName[plain] == nil { byName[plain] = (place, isOpposite) }
      }
      for name in flag.shortNames where byShortName[name] == nil { byShortName[name] = place }
    }
    self.byName = byName
    self.byShortName = byShortName
  }

  /// The flag with this long name (words joined by `-`), and whether the name means its opposite.
  package func flag(named name: String) -> (flag: Flag, isOpposite: Bool)? {
    if let (place, isOpposite) = byName[name] { return (flags[place], isOpposite) }
    if name.hasPrefix("no-"), let (place, isOpposite) = byName[String(name.dropFirst(3))],
      case .bool = flags[place].kind
    {
      return (flags[place], !isOpposite)
    }
    return nil
  }

  /// The flag with this single-dash name.
  package func flag(shortNamed name: String) -> Flag? { byShortName[name].map { flags[$0] } }

  /// The long name nearest to one that does not exist.
  package func nearest(to name: String) -> String? { NearestName.nearest(to: name, among: byName.keys.sorted()) }

  package var sections: [Flag.Section] {
    Flag.Section.allCases.filter { section in flags.contains { $0.section == section } }
  }
}

extension FlagTable {
  private static let engine =
    Flag.model + Flag.memory + Flag.transfer + Flag.scheduling + Flag.parallelism + Flag.features

  package static let serve = FlagTable(
    Flag.general, Flag.frontEnd, engine, Flag.observability, Flag.environmentOnly)
  package static let chat = FlagTable(
    Flag.chatFlags, Flag.chatOnly, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let complete = FlagTable(
    Flag.chatFlags, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let benchLatency = FlagTable(
    Flag.latency, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let benchThroughput = FlagTable(
    Flag.throughput, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let benchServe = FlagTable(Flag.benchServe, Flag.benchGeneral)
  package static let benchReplay = FlagTable(
    Flag.replay, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let benchStartup = FlagTable(
    Flag.startup, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let benchPerplexity = FlagTable(
    Flag.perplexity, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let quantize = FlagTable(
    Flag.quantize, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let benchKernels = FlagTable(
    Flag.benchGeneral, Flag.jsonOutput, Flag.cpu, Flag.environmentOnly)
  package static let simulate = FlagTable(
    Flag.simulation, Flag.jsonOutput, Flag.benchGeneral, Flag.memory, Flag.scheduling, Flag.environmentOnly)
  package static let placementPlan = FlagTable(
    Flag.placementPlan, Flag.jsonOutput, Flag.general, engine, Flag.quietObservability, Flag.environmentOnly)
  package static let top = FlagTable(Flag.top, Flag.benchGeneral)
  package static let data = FlagTable(Flag.dataChanges, Flag.benchGeneral)
  package static let dataWorker = FlagTable(Flag.dataWorker, Flag.benchGeneral)
  package static let certs = FlagTable(Flag.certificates, Flag.benchGeneral)
  package static let router = FlagTable(Flag.router, Flag.benchGeneral)
  package static let collectEnv = FlagTable(Flag.jsonOutput, Flag.benchGeneral)
  package static let text = FlagTable(Flag.textFlags, Flag.benchGeneral)
  package static let renderTemplate = FlagTable(Flag.renderFlags, Flag.benchGeneral)

  /// Every flag there is, to tell a known environment variable from an unknown one.
  package static let everything = FlagTable(
    Flag.general, Flag.frontEnd, engine, Flag.observability, Flag.cpu, Flag.chatFlags, Flag.chatOnly, Flag.latency,
    Flag.throughput, Flag.benchServe, Flag.replay, Flag.startup, Flag.perplexity, Flag.quantize, Flag.simulation,
    Flag.textFlags, Flag.renderFlags, Flag.top, Flag.dataChanges, Flag.dataWorker, Flag.certificates,
    Flag.placementPlan, Flag.router,
    Flag.environmentOnly)
}
