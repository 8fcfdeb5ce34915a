import SwerveCore
import SwerveEngine
import SwervePlacement

/// The planner for a model and the machine of the settings.
enum PlacementPlanning {
  /// What this build can run.
  static let runnable: Set<String> = ["unified", "gathered"]

  /// Measures this machine, or reads the described one.
  static func planner(_ settings: Settings, _ configuration: EngineConfiguration) throws -> Planner {
    let placement = settings.placement
    for (flag, value) in [("input-len", placement.inputLength), ("output-len", placement.outputLength)]
    where !(1...100_000_000).contains(value) {
      throw CommandError(.usage, "--\(flag) must be between 1 and 100000000, not \(value).")
    }
    let probe = try PlacementProbe(configuration)
    let machine: MachineDescription
    if let path = placement.machine {
      let text: String
      do { text = try TextFile.read(path) } catch { throw CommandError(.usage, "--machine \(error).") }
      do {
        machine = try MachineDescription(parsing: text)
      } catch {
        throw CommandError(.usage, "--machine \(path): \(error).")
      }
    } else {
      machine = try probe.measure()
    }
    return Planner(
      CostModel(
        model: probe.shape, machine: machine,
        load: probe.load(promptTokens: placement.inputLength, outputTokens: placement.outputLength)))
  }

  /// `--placement auto`: the best of what can run here. A choice of the user's stays, with a warning where another one is
  /// predicted more than a tenth faster.
  static func apply(_ settings: Settings, to configuration: inout EngineConfiguration, console: Console) throws {
    let choice: Placement
    switch settings.placement.name {
    case "auto":
      let planner = try planner(settings, configuration)
      if let warning = planner.cost.machine.busyWarning { console.warn(warning + ".") }
      let best = planner.candidates.filter { $0.refusal == nil && runnable.contains($0.placement.name) }
        .reduce(nil as Estimate?) { best, next in
          guard let best, best.tokensPerSecond >= next.tokensPerSecond else { return next }
          return best
        }
      guard let best else { throw CommandError(.memory, "--placement auto: \(planner.reason).") }
      let why = best.placement == planner.best?.placement ? planner.reason : "the best of what this build runs"
      console.writeError(
        "--placement auto: \(best.placement.title), predicted \(Decimals.fixed(best.tokensPerSecond, 1)) tokens/s: \(why)\n"
      )
      if case .gathered(let source, let depth) = best.placement {
        configuration.gathering = GatherConfiguration()
        configuration.gathering?.source = source
        configuration.gathering?.depth = depth
      }
      return
    case "gathered":
      choice = .gathered(settings.placement.gather.source, depth: settings.placement.gather.depth)
    default: return
    }
    if let warning = try planner(settings, configuration).warning(for: choice) { console.warn(warning + ".") }
  }
}
