import ArgumentParser
import SwerveCore
import SwerveEngine

/// `quantize`: a model's folder with its weights packed as the engine uses them.
struct QuantizeCommand: TableCommand {
  static let configuration = passing("quantize", "Pack and quantise a model's weights into a file that starts at once.")
  static let table = FlagTable.quantize
  static let takesModel = true
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    try expectNone(positionals)
    if settings.quantize.verifies, settings.quantize.output != nil {
      throw CommandError(
        .usage, "swerve quantize takes --output to write a packed model or --verify to read one, not both.")
    }
    if !settings.quantize.verifies, settings.quantize.output == nil {
      throw CommandError(.usage, "swerve quantize needs --output FOLDER for the packed model.")
    }
    let configuration = try await ModelResolution.resolve(
      settings, environment: context.environment, console: context.console)
    try await context.wiring.quantize(settings, configuration, context.console)
  }
}

/// The work of `quantize`, with its progress and its lines.
package struct QuantizeRun {
  let settings: QuantizeSettings
  let configuration: EngineConfiguration
  let console: Console

  package func run(isDry: Bool) throws {
    if settings.verifies { return try verify() }
    let output = settings.output ?? ""
    let model = try PackedModel(configuration)
    if isDry {
      console.print("\(output): about \(Format.bytes(model.estimatedBytes)) of packed weights")
      return
    }
    let display = ProgressDisplay("packing \(configuration.modelName)", unit: .percent, console: console)
    let start = Clock.now()
    let result: PackedModel.Result
    do {
      defer { display.finish() }
      result = try model.write(to: output, overwrites: settings.overwrites) { display.update(fraction: $0) }
    }
    for warning in result.warnings { console.warn(warning) }
    let formats = result.formats.map { "\($0.name) \(Format.bytes($0.byteCount))" }.joined(separator: ", ")
    console.print("\(output): \(formats), written in \(Format.fixed(Clock.now() - start, 2)) s")
  }

  private func verify() throws {
    let display = ProgressDisplay("verifying \(configuration.modelName)", unit: .percent, console: console)
    let bytes: Int
    do {
      defer { display.finish() }
      bytes = try PackedModel.verify(configuration) { display.update(fraction: $0) }
    }
    console.print("\(configuration.modelName): \(Format.bytes(bytes)) agree with their checksums")
  }
}
