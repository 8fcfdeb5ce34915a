import ArgumentParser
import SwerveCore
import SwerveEngine
import SwervePlacement

/// `placement plan|check|show`: where a model's parameters and request data could live, and what that is predicted to
/// cost.
struct PlacementCommand: TableCommand {
  static let configuration = passing("placement", "Plan where weights, keys and values live: plan, check, show.")
  static let table = FlagTable.placementPlan
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  private static let usage =
    "swerve placement plan [MODEL] [-o FILE], swerve placement check FILE [MODEL], or swerve placement show [MODEL]"

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    var settings = settings
    var words = positionals[...]
    guard let verb = words.popFirst(), ["plan", "check", "show"].contains(verb) else {
      throw CommandError(.usage, "give one of: \(Self.usage).")
    }
    var flags: [PlacementDocument.Flag] = []
    if verb == "check" {
      guard let path = words.popFirst() else {
        throw CommandError(.usage, "check needs the plan's file: \(Self.usage).")
      }
      do {
        flags = try PlacementDocument.flags(parsing: try TextFile.read(path))
      } catch {
        throw CommandError(.usage, "\(path): \(error).")
      }
    }
    if let model = words.popFirst() { settings.model = model }
    try expectNone(Array(words))
    settings.engine.modelName = settings.model ?? "story"
    let configuration = try await ModelResolution.resolve(
      settings, environment: context.environment, console: context.console)
    let planner = try PlacementPlanning.planner(settings, configuration)
    switch verb {
    case "check": try check(flags, planner, context.console)
    case "show": show(planner, context.console)
    default: try plan(planner, settings, context.console)
    }
  }

  private func plan(_ planner: Planner, _ settings: Settings, _ console: Console) throws {
    guard let best = planner.best else { throw CommandError(.memory, "\(planner.reason).") }
    let document = PlacementDocument(planner, choice: best.placement)
    if let path = settings.placement.output {
      do {
        try TextFile.write(document.json.text + "\n", to: path)
      } catch {
        throw CommandError(.usage, "--output: \(error).")
      }
    }
    if settings.general.json { return console.print(document.json.text) }
    let lines = PlacementText.machine(planner.cost.machine) + [""] + PlacementText.table(planner)
    for line in lines { console.print(line) }
    console.print("")
    console.print("\(best.placement.title): \(planner.reason)")
    console.print("flags: " + document.flags.map { "--\($0.name) \($0.value)" }.joined(separator: " "))
    if let path = settings.placement.output { console.print("written to \(path); use it with --placement \(path)") }
  }

  private func check(_ flags: [PlacementDocument.Flag], _ planner: Planner, _ console: Console) throws {
    guard let placement = Placement(flags: flags.map { ($0.name, $0.value) }) else {
      throw CommandError(
        .usage, "the plan's flags do not describe a placement; write it again with swerve placement plan.")
    }
    let estimate = planner.estimate(placement)
    if let refusal = estimate.refusal { throw CommandError(.memory, "\(placement.title) does not fit: \(refusal).") }
    console.print(
      "\(placement.title): \(Decimals.fixed(estimate.tokensPerSecond, 1)) tokens/s predicted, decode step "
        + "\(Decimals.fixed(estimate.decodeSeconds * 1e3, 2)) ms, prefill step "
        + "\(Decimals.fixed(estimate.prefillSeconds * 1e3, 2)) ms, \(estimate.sequences) sequences at once")
    if let warning = planner.warning(for: placement) { console.warn(warning + ".") }
  }

  private func show(_ planner: Planner, _ console: Console) {
    for line in PlacementText.machine(planner.cost.machine) { console.print(line) }
    guard let best = planner.best else { return console.print(planner.reason) }
    console.print("")
    for line in PlacementText.roles(PlacementDocument(planner, choice: best.placement)) { console.print(line) }
    console.print("link: \(Decimals.bytes(best.linkBytesPerToken)) for each token of output")
  }
}
