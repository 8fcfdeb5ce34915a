import SwerveCore
import SwerveEngine
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The embedded model as a folder with packed weights.
@Suite struct PackedModelTests {
  let folder = PackedFolder()

  func answers(_ configuration: EngineConfiguration) async throws -> ([Answer], report: [String]) {
    let engine = try await Engine.start(configuration)
    let answers = try await engine.answers([
      textRequest("Once upon a time", id: "a") { $0.logprobs = 2 },
      textRequest("There was a fox who", id: "b") { $0.promptLogprobs = 1 },
    ])
    let report = engine.report.memoryTable
    await engine.stop()
    return (answers, report)
  }

  @Test(arguments: EngineConfiguration.Quantization.allCases)
  func `a packed model answers with the bits of the one it was made from`(
    quantization: EngineConfiguration.Quantization
  ) async throws {
    let asked = storyConfiguration { $0.quantization = quantization }
    var shares: [Double] = []
    let result = try PackedModel(asked).write(to: folder.path, overwrites: false) { shares.append($0) }
    #expect(shares.last == 1 && shares == shares.sorted())
    // Groups of 128 do not fit all of this model's matrices, and that is said.
    #expect(result.warnings.isEmpty == (quantization != .int4))
    #expect(!result.formats.isEmpty && result.formats.allSatisfy { $0.byteCount > 0 })
    let loaded = try await answers(asked)
    let mapped = try await answers(storyConfiguration { $0.modelFolder = folder.path })
    #expect(loaded.0 == mapped.0)
    #expect(mapped.report.contains { $0.contains("weights") && $0.contains("mapped)") })
    #expect(!loaded.report.contains { $0.contains("mapped") })
    // The same format may be named again.
    let again = try await answers(
      storyConfiguration {
        $0.modelFolder = folder.path
        $0.quantization = quantization
        $0.loadFormat = .packed
      })
    #expect(again.0 == loaded.0)
    var share = 0.0
    let bytes = try PackedModel.verify(storyConfiguration { $0.modelFolder = folder.path }) { share = $0 }
    #expect(share == 1 && bytes >= result.formats.reduce(0) { $0 + $1.byteCount })
  }

  @Test func `a packed file follows its own type`() async throws {
    let asked = storyConfiguration { $0.dtype = .float32 }
    _ = try PackedModel(asked).write(to: folder.path, overwrites: false) { _ in }
    let loaded = try await answers(asked)
    let mapped = try await answers(storyConfiguration { $0.modelFolder = folder.path })
    #expect(loaded.0 == mapped.0)
  }

  /// The exit code and the sentence of a refusal.
  func refusal(_ body: () async throws -> Void) async -> (code: Int32, text: String) {
    do {
      try await body()
      return (0, "")
    } catch let error as EngineStartError {
      return (error.exitCode, error.description)
    } catch { return (-1, "\(error)") }
  }

  @Test func `contradictions are refused with their exit codes`() async throws {
    let path = folder.path
    func plan(_ change: (inout EngineConfiguration) -> Void) async -> (code: Int32, text: String) {
      await refusal { _ = try StartPlan(storyConfiguration(change)) }
    }
    let missing = await plan { $0.loadFormat = .packed }
    #expect(missing.code == 3 && missing.text.contains("--load-format packed asks for it"))
    _ = try PackedModel(storyConfiguration { $0.quantization = .int8 }).write(to: path, overwrites: false) { _ in }
    let other = await plan {
      $0.modelFolder = path
      $0.quantization = .nf4
    }
    #expect(other.code == 2 && other.text.contains("holds weights in int8"))
    let twice = await refusal {
      _ = try PackedModel(storyConfiguration()).write(to: path, overwrites: false) { _ in }
    }
    #expect(twice.code == 2 && twice.text.contains("has files already"))
    _ = try PackedModel(storyConfiguration()).write(to: path, overwrites: true) { _ in }
    let packed = await refusal { _ = try PackedModel(storyConfiguration { $0.modelFolder = path }) }
    #expect(packed.code == 3 && packed.text.contains("is packed already"))
    let type = await refusal {
      let configuration = storyConfiguration {
        $0.modelFolder = path
        $0.dtype = .float16
      }
      await (try Engine.start(configuration)).stop()
    }
    #expect(type.code == 3 && type.text.contains("leave out --dtype"))
    let overrides = await refusal { _ = try PackedModel(storyConfiguration { $0.configOverrides = ["a": 1] }) }
    #expect(overrides.code == 2)
    let nowhere = await refusal {
      _ = try PackedModel(storyConfiguration()).write(to: path + "/no/place", overwrites: false) { _ in }
    }
    #expect(nowhere.code == 2 && nowhere.text.contains("cannot be made"))
    let nothing = await refusal { _ = try PackedModel.verify(storyConfiguration()) { _ in } }
    #expect(nothing.code == 3 && nothing.text.contains("nothing to verify"))
  }
}

/// A name for a folder that does not exist yet; what is made there goes with the value.
final class PackedFolder: Sendable {
  private let parent: String
  var path: String { parent + "/model" }

  init() {
    var template = Array("/tmp/swerve-test-XXXXXX".utf8CString)
    parent = String(cString: mkdtemp(&template))
  }

  deinit {
    for name in ModelFiles(folder: path).names { unlink(path + "/" + name) }
    rmdir(path)
    rmdir(parent)
  }
}
