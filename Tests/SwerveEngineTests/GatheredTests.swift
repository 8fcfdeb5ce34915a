import SwerveCore
import SwerveEngine
import SwerveInference
import Testing

/// Engines whose weights are gathered, against the ordinary one.
@Suite struct GatheredTests {
  let folder = PackedFolder()

  static func gathering(_ source: GatherConfiguration.Source, depth: Int = 2) -> GatherConfiguration {
    var gathering = GatherConfiguration()
    gathering.source = source
    gathering.depth = depth
    return gathering
  }

  /// Greedy, drawn, with choices and with a prompt that begins like another one.
  static let requests = [
    textRequest("Once upon a time", id: "a") { $0.logprobs = 3 },
    textRequest("There was a fox who", id: "b") { $0.promptLogprobs = 1 },
    textRequest("Once upon a time there lived", id: "c") {
      $0.temperature = 1
      $0.seed = 5
      $0.n = 3
      $0.logprobs = 0
    },
    textRequest("The king said", id: "d") {
      $0.temperature = 0.7
      $0.topP = 0.9
      $0.seed = 17
      $0.repetitionPenalty = 1.2
    },
  ]

  @Test(arguments: [EngineConfiguration.DType.float32, .bfloat16], GatherConfiguration.Source.local)
  func `gathered weights answer with the bits of resident ones`(
    type: EngineConfiguration.DType, source: GatherConfiguration.Source
  ) async throws {
    let ordinary = storyConfiguration {
      $0.dtype = type
      $0.maxBatchedTokens = 64
    }
    _ = try PackedModel(ordinary).write(to: folder.path, overwrites: false) { _ in }
    let engine = try await Engine.start(ordinary)
    let expected = try await engine.answers(Self.requests)
    #expect(engine.statistics.gather == nil)
    let residentBytes = engine.statistics.weightBytes
    await engine.stop()

    let path = folder.path
    let gathered = try await Engine.start(
      storyConfiguration {
        $0.modelFolder = path
        $0.maxBatchedTokens = 64
        $0.gathering = Self.gathering(source, depth: 1)
      })
    let found = try await gathered.answers(Self.requests)
    #expect(found.map(\.choices) == expected.map(\.choices))
    #expect(found.map(\.promptLogprobs) == expected.map(\.promptLogprobs))
    let now = gathered.statistics
    let traffic = try #require(now.gather)
    #expect(traffic.failedItems == 0)
    // Every step reads all layers.
    #expect(traffic.readBytes > now.steps * residentBytes / 2)
    #expect(now.weightBytes < residentBytes)
    let report = gathered.report
    #expect(
      report.memoryTable.contains { $0.contains("gathered)") } && report.logLines.contains { $0.contains("a step") })
    await gathered.stop()
  }

  @Test func `without packed weights gathering is refused`() throws {
    for change in [{ _ in }, { $0.loadFormat = .dummy }] as [(inout EngineConfiguration) -> Void] {
      do {
        _ = try StartPlan(
          storyConfiguration {
            change(&$0)
            $0.gathering = Self.gathering(.nvme)
          })
        Issue.record("there is no packed file")
      } catch {
        #expect(error.exitCode == 2 && error.description.contains("swerve quantize"))
      }
    }
    do {
      _ = try StartPlan(storyConfiguration { $0.gathering = Self.gathering(.nvme, depth: 0) })
      Issue.record("a ring has at least one buffer ahead")
    } catch { #expect(error.description.contains("--gather-depth")) }
  }

  @Test func `the KV pool is sized beside the ring`() async throws {
    _ = try PackedModel(storyConfiguration()).write(to: folder.path, overwrites: false) { _ in }
    let path = folder.path
    func plan(_ gathering: GatherConfiguration?) throws -> StartPlan {
      try StartPlan(
        storyConfiguration {
          $0.modelFolder = path
          $0.gathering = gathering
        })
    }
    let resident = try plan(nil)
    let gathered = try plan(Self.gathering(.nvme, depth: 1))
    let difference = resident.memoryPlan.weightBytes - gathered.memoryPlan.weightBytes
    #expect(difference > 0)
    #expect(gathered.report.memory.weights == resident.report.memory.weights - difference)
  }
}

extension GatherConfiguration.Source {
  /// Sources that need no other process.
  static let local: [Self] = [.nvme, .host]
}
