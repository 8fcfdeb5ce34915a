import SwerveCommand
import SwerveCore
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The real command over a tiny model and over the embedded one.
@Suite struct QuantizeTests {
  let record = ConsoleRecord()
  let folder = WorkFolder()

  /// A tiny model of the inference tests.
  static let model =
    String(#filePath.dropLast("SwerveCommandTests/QuantizeTests.swift".utf8.count))
    + "SwerveInferenceTests/Fixtures/models/qwen2"

  func run(_ arguments: String...) async -> ExitCode {
    let context = CommandContext(wiring: .standard, environment: [:], console: record.console())
    return await SwerveMain.run(arguments, context: context)
  }

  @Test(arguments: [["--quantization", "none"], ["-q", "int8"], ["--load-4bit"], ["--dtype", "float32"]])
  func aModelIsPackedServedAndVerified(_ flags: [String]) async throws {
    let output = folder.path + "/packed"
    let context = CommandContext(wiring: .standard, environment: [:], console: record.console())
    let code = await SwerveMain.run(["quantize", Self.model, "-o", output] + flags, context: context)
    #expect(code == .success, "\(record.errors)")
    #expect(record.output.hasPrefix(output + ": "))
    let files = ModelFiles(folder: output)
    #expect(files.contains("model.swerve") && files.contains("config.json") && !files.contains("model.safetensors"))
    #expect(!files.names.contains { $0.hasSuffix(".tmp") })
    #expect(await run("quantize", "--verify", output) == .success)
    #expect(record.output.contains("agree with their checksums"))
    // The engine takes it as a model, without further flags.
    #expect(await run("complete", output, "--dry-run", "--kv-cache-memory-bytes", "1MiB", "-c", "32") == .success)
    #expect(record.output.contains("mapped)"))
  }

  @Test func theEmbeddedModelTellsTheSameStoryFromAFile() async throws {
    let output = folder.path + "/story"
    #expect(await run("quantize", "story", "-o", output) == .success, "\(record.errors)")
    let before = record.output
    let words = [
      "-q", "Once upon a time", "--max-tokens", "24", "--temperature", "0", "-c", "128", "--kv-cache-memory-bytes",
      "16MiB",
    ]
    let context = CommandContext(wiring: .standard, environment: [:], console: record.console())
    #expect(await SwerveMain.run(["complete"] + words, context: context) == .success)
    let embedded = record.output.dropFirst(before.count)
    #expect(await SwerveMain.run(["complete", output] + words, context: context) == .success)
    #expect(record.output.dropFirst(before.count + embedded.count) == embedded && embedded.count > 20)
  }

  @Test func whatIsThereIsNotOverwritten() async {
    let output = folder.path + "/twice"
    #expect(await run("quantize", Self.model, "-o", output) == .success)
    #expect(await run("quantize", Self.model, "-o", output) == .usage)
    #expect(record.errors.contains("has files already"))
    #expect(await run("quantize", Self.model, "-o", output, "--force") == .success)
    #expect(await run("quantize", output, "-o", folder.path + "/third") == .model)
    #expect(record.errors.contains("is packed already"))
  }

  @Test func contradictionsAndDamageAreRefused() async throws {
    let output = folder.path + "/int8"
    #expect(await run("quantize", Self.model, "-o", output, "-q", "int8") == .success)
    let sizes = ["--kv-cache-memory-bytes", "1MiB", "-c", "32"]
    let context = CommandContext(wiring: .standard, environment: [:], console: record.console())
    #expect(
      await SwerveMain.run(["complete", output, "--dry-run", "-q", "x", "--load-4bit"] + sizes, context: context)
        == .usage)
    #expect(record.errors.contains("holds weights in int8"))
    #expect(
      await SwerveMain.run(["complete", Self.model, "--dry-run", "--load-format", "packed"] + sizes, context: context)
        == .model)
    #expect(record.errors.contains("--load-format packed asks for it"))
    try folder.damage("int8/model.swerve")
    #expect(await run("quantize", "--verify", output) == .model)
    #expect(record.errors.contains("does not agree with its checksum"))
  }

  @Test func whatIsMissingIsSaid() async {
    #expect(await run("quantize", Self.model) == .usage)
    #expect(record.errors.contains("needs --output"))
    #expect(await run("quantize", Self.model, "-o", "a", "--verify") == .usage)
    #expect(await run("quantize", Self.model, "-o", folder.path + "/no/such/place") == .usage)
    #expect(record.errors.contains("cannot be made"))
    #expect(await run("quantize", "--verify", Self.model) == .model)
    #expect(record.errors.contains("nothing to verify"))
    #expect(await run("quantize", Self.model, "-o", folder.path + "/a", "--dry-run") == .success)
    #expect(!ModelFiles(folder: folder.path).contains("a"))
  }
}

/// A folder with folders in it, removed with the value.
final class WorkFolder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/swerve-test-XXXXXX".utf8CString)
    path = String(cString: mkdtemp(&template))
  }

  deinit {
    for name in ModelFiles(folder: path).names {
      for file in ModelFiles(folder: path + "/" + name).names { unlink("\(path)/\(name)/\(file)") }
      rmdir(path + "/" + name)
    }
    rmdir(path)
  }

  /// Changes a byte of the first matrix.
  func damage(_ name: String) throws {
    let descriptor = open(path + "/" + name, O_RDWR)
    defer { close(descriptor) }
    var byte: UInt8 = 0
    pread(descriptor, &byte, 1, 4200)
    byte ^= 0x55
    pwrite(descriptor, &byte, 1, 4200)
  }
}
