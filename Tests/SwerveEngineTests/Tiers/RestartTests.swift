import Foundation
import SwerveCore
import SwerveEngine
import SwerveTiers
import Testing

/// Prefixes survive in host memory and in files: evicted from the device, or over a restart of the whole engine.
@Suite(.serialized) struct TierRestartTests {
  private static let count = 6

  private func configuration(
    _ folder: TestFolder, key: UInt8?, _ change: (inout EngineConfiguration) -> Void = { _ in }
  )
    throws -> EngineConfiguration
  {
    let keyFile = try key.map { try folder.keyFile($0) }
    return storyConfiguration {
      $0.kvTiers = "device=auto,host=16MiB,nvme=1GiB:\(folder.blocks)"
      $0.kvKeyFile = keyFile
      change(&$0)
    }
  }

  private func answers(_ engine: Engine) async throws -> [Answer] {
    try await engine.answers((0..<Self.count).map { longRequest($0) })
  }

  private func reference() async throws -> [Answer] {
    let engine = try await Engine.start(storyConfiguration { $0.enablePrefixCaching = false })
    let answers = try await answers(engine)
    await engine.stop()
    return answers
  }

  /// One life of an engine: its answers and last statistics.
  private func life(_ configuration: EngineConfiguration) async throws -> ([Answer], EngineStatistics) {
    let engine = try await Engine.start(configuration)
    let found = try await answers(engine)
    await engine.stop()
    return (found, engine.statistics)
  }

  @Test func aRestartFindsNearlyAllPromptTokensInFiles() async throws {
    let folder = try TestFolder()
    let expected = try await reference()
    let (first, before) = try await life(configuration(folder, key: 7))
    #expect(first.map(\.choices) == expected.map(\.choices))
    #expect(before.tiers?.hitTokens.reduce(0, +) == 0)
    #expect(try !folder.blockFiles().isEmpty)

    let (second, after) = try await life(configuration(folder, key: 7))
    #expect(second.map(\.choices) == expected.map(\.choices), "tokens and log-probabilities")
    let prompts = expected.map(\.prompt.count).reduce(0, +)
    let hits = try #require(after.tiers).hitTokens[TierStatistics.Source.files.rawValue]
    #expect(Double(hits) >= 0.95 * Double(prompts), "\(hits) of \(prompts) prompt tokens came from files")
    #expect(second.map(\.cachedTokens).reduce(0, +) >= hits)
    #expect(after.tiers?.fileToHostBytes ?? 0 > 0)

    // Another key, or none: nothing is found, and nothing is lost.
    for key in [UInt8(8), nil] {
      let (other, strange) = try await life(configuration(folder, key: key))
      #expect(other.map(\.choices) == expected.map(\.choices))
      #expect(strange.tiers?.hitTokens == [0, 0] && strange.tiers?.fileToHostBytes == 0)
    }
    let (again, found) = try await life(configuration(folder, key: 7))
    #expect(again.map(\.choices) == expected.map(\.choices))
    #expect(Double(found.tiers?.hitTokens[1] ?? 0) >= 0.95 * Double(prompts))
  }

  /// Where only files were asked for, memory carries blocks there: as many as a step fills, or the chain behind the first
  /// one without room would be lost.
  @Test func whatAStepFillsReachesFilesWhole() async throws {
    let folder = try TestFolder()
    func life() async throws -> EngineStatistics {
      let engine = try await Engine.start(
        configuration(folder, key: 7) {
          $0.kvTiers = "nvme=1GiB:\(folder.blocks)"
          $0.maxModelLength = 1024
          $0.maxBatchedTokens = 2048
          $0.kvCacheBytes = 256 << 20
        })
      for number in 0..<3 {
        // 62 blocks each, two at a time.
        let requests = (0..<2).map { half in
          var request = longRequest(number) {
            $0.maxTokens = 1
            $0.logprobs = nil
          }
          request.prompt = .tokens(
            (0..<1000).map { TokenID(3 + (7 * $0 + 31 * (2 * number + half) + $0 * $0 % 89) % 900) })
          request.id = "whole-\(number)-\(half)"
          return request
        }
        _ = try await engine.answers(requests)
        // A medium may be slower than prompts are computed: then the next step's blocks would find no room.
        #expect(try await engine.waits { $0.tiers?.fileBlocks ?? 0 >= 2 * 62 * (number + 1) })
      }
      await engine.stop()
      return engine.statistics
    }
    let before = try await life()
    #expect(before.tiers?.allocationFailures == 0 && before.tiers?.spillsDropped == 0)
    let after = try await life()
    #expect(after.tiers?.hitTokens[TierStatistics.Source.files.rawValue] == 6 * 62 * 16)
  }

  @Test func filesTellNoPrompt() async throws {
    let folder = try TestFolder()
    let engine = try await Engine.start(configuration(folder, key: 7))
    let answer = try await engine.answer(longRequest(1))
    await engine.stop()
    // Sixteen of the prompt's tokens in a row, as a block's record holds them.
    let pattern = answer.prompt[..<16].flatMap { token in
      (0..<4).map { UInt8(truncatingIfNeeded: token.rawValue >> ($0 * 8)) }
    }
    let files = try folder.blockFiles()
    #expect(files.count >= answer.prompt.count / 16)
    for file in files {
      let bytes = try [UInt8](Data(contentsOf: URL(filePath: file)))
      #expect(Data(bytes).range(of: Data(pattern)) == nil)
      var counts = [Double](repeating: 0, count: 256)
      for byte in bytes[128...] { counts[Int(byte)] += 1 }
      let total = Double(bytes.count - 128)
      let entropy = -counts.filter { $0 > 0 }.map { $0 / total * log2($0 / total) }.reduce(0, +)
      #expect(entropy > 7.9, "\(file): \(entropy) bits a byte")
    }
  }

  @Test(arguments: ["cut", "flipped", "empty", "swapped"])
  func damagedFilesAreMissesAndNeverTokens(damage: String) async throws {
    let folder = try TestFolder()
    let expected = try await reference()
    _ = try await life(configuration(folder, key: 7))
    let files = try folder.blockFiles()
    for (index, file) in files.enumerated() {
      var bytes = try Data(contentsOf: URL(filePath: file))
      switch damage {
      case "cut": bytes = bytes.prefix(bytes.count * 2 / 3)
      case "flipped": bytes[128 + 12 + index % (bytes.count - 160)] ^= 1
      case "empty": bytes = Data()
      default: bytes = try Data(contentsOf: URL(filePath: files[(index + 1) % files.count]))
      }
      try bytes.write(to: URL(filePath: file))
    }
    let (found, statistics) = try await life(configuration(folder, key: 7))
    #expect(found.map(\.choices) == expected.map(\.choices))
    #expect(statistics.tiers?.hitTokens == [0, 0])
    if damage == "flipped" { #expect(statistics.tiers?.verifyFailures["damaged"] ?? 0 > 0) }
  }

  @Test func prefixesEvictedFromTheDeviceComeFromTheHost() async throws {
    let expected = try await reference()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.kvCacheBytes = nil
        $0.kvBlocks = 40
        $0.kvTiers = "host=64MiB"
      })
    for round in 0..<2 {
      for number in 0..<Self.count {
        let answer = try await engine.answer(longRequest(number))
        #expect(answer.choices == expected[number].choices, "round \(round), prompt \(number)")
        if round == 1 { #expect(answer.cachedTokens * 100 >= answer.prompt.count * 95) }
      }
    }
    let statistics = engine.statistics
    let tiers = try #require(statistics.tiers)
    #expect(tiers.hitTokens[TierStatistics.Source.host.rawValue] > 0 && tiers.hitTokens[1] == 0)
    #expect(tiers.reloadSeconds[0].count * 16 == tiers.hitTokens[0])
    #expect(tiers.fileState == nil)
    // Forgotten below the device as well.
    #expect(await engine.resetPrefixCache())
    #expect(try await engine.answer(longRequest(0)).cachedTokens == 0)
    await engine.stop()
  }

  @Test func aTenantsBlocksAreItsOwn() async throws {
    let folder = try TestFolder()
    let engine = try await Engine.start(configuration(folder, key: 7))
    var salted = longRequest(2)
    salted.cacheSalt = "acme"
    let first = try await engine.answer(salted)
    await engine.stop()
    let again = try await Engine.start(configuration(folder, key: 7))
    #expect(try await again.answer(longRequest(2)).cachedTokens == 0)
    let found = try await again.answer(salted)
    #expect(found.cachedTokens * 100 >= found.prompt.count * 95 && found.choices == first.choices)
    await again.stop()
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.blocks + "/keys").count == 2)
  }

  @Test func aFolderThatIsOnlyReadStaysAsItIs() async throws {
    let folder = try TestFolder()
    let (first, _) = try await life(configuration(folder, key: 7))
    let before = try folder.blockFiles()
    let (second, statistics) = try await life(
      configuration(folder, key: 7) { $0.kvTiers = "host=16MiB,nvme=1GiB:\(folder.blocks):readonly" })
    #expect(second.map(\.choices) == first.map(\.choices))
    #expect(statistics.tiers?.hitTokens[1] ?? 0 > 0 && statistics.tiers?.hostToFileBytes == 0)
    #expect(try folder.blockFiles() == before)
  }
}
