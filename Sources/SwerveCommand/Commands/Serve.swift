import ArgumentParser

struct ServeCommand: TableCommand {
  static let configuration = passing(
    "serve", "Serve a model over the OpenAI API.", aliases: ["api_server", "api-server"])
  static let table = FlagTable.serve
  static let takesModel = true
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    var settings = settings
    settings.engine = try await ModelResolution.resolve(
      settings, environment: context.environment, console: context.console)
    if settings.placement.name == "auto" || !settings.general.dryRun {
      try PlacementPlanning.apply(settings, to: &settings.engine, console: context.console)
    }
    if settings.general.dryRun {
      for line in try await context.wiring.engines.plan(settings.engine) { context.console.print(line) }
      return
    }
    try await context.wiring.serve(settings, context.wiring.engines, context.console)
  }
}
