import Foundation
import Glibc
import SwerveCore
import SwerveEngine
import SwerveTiers
import Synchronization
import Testing
import TierTestSupport

/// What cannot work is said before anything starts; a disk that fails later is no reason to stop serving.
@Suite(.serialized) struct TierStartTests {
  static let wrong: [(String, @Sendable (inout EngineConfiguration) -> Void, String)] = [
    ("no size", { $0.kvTiers = "host" }, "has no size"),
    ("no tier", { $0.kvTiers = "tape=1GiB" }, "names no tier"),
    ("tiny", { $0.kvTiers = "host=100" }, "cannot hold one block"),
    ("huge", { $0.kvTiers = "host=900TiB" }, "does not fit"),
    (
      "twice",
      {
        $0.kvTiers = "host=1GiB"; $0.kvOffloadingBytes = 1 << 30
      }, "give one of them"
    ),
    ("device twice", { $0.kvTiers = "device=1GiB,host=1GiB" }, "give one of them"),
    (
      "key without files",
      {
        $0.kvTiers = "host=1GiB"; $0.kvKeyFile = "/tmp/x"
      }, "--kv-key-file"
    ),
    (
      "no key",
      {
        $0.kvTiers = "nvme=1GiB:/tmp/none"; $0.kvKeyFile = "/nonexistent/key"
      }, "cannot be read"
    ),
    ("swap to nowhere", { $0.preemptionMode = .swap }, "--preemption-mode swap needs"),
    (
      "precision",
      {
        $0.kvTiers = "host=1GiB:dtype=int8"; $0.kvCacheType = .int8
      }, "use dtype=auto"
    ),
  ]

  @Test(arguments: wrong.indices)
  func aFlagThatCannotWorkIsOneSentence(_ row: Int) throws {
    let (name, change, part) = Self.wrong[row]
    do {
      _ = try StartPlan(storyConfiguration(change))
      Issue.record("\(name) starts")
    } catch {
      #expect(error.exitCode == 2)
      #expect(error.description.contains(part) && error.description.hasSuffix("."), "\(name): \(error)")
      #expect(!error.description.contains("\n"))
    }
  }

  @Test func aFolderThatCannotBeUsedEndsTheStart() async throws {
    let folder = try TestFolder()
    try Data().write(to: URL(filePath: folder.blocks))
    await #expect(throws: EngineStartError.self) {
      _ = try await Engine.start(storyConfiguration { $0.kvTiers = "nvme=1GiB:\(folder.blocks)" })
    }
    // A folder of another process.
    try FileManager.default.removeItem(atPath: folder.blocks)
    let first = try await Engine.start(storyConfiguration { $0.kvTiers = "nvme=1GiB:\(folder.blocks)" })
    #expect(first.report.warnings.contains { $0.contains("--kv-key-file") })
    // What two steps fill, in blocks of 16.
    let passage = max(64, 2 * (storyConfiguration().resolvedMaxBatchedTokens / 16 + 1))
    #expect(first.report.logLines.contains { $0.hasPrefix("KV tiers below the device: host \(passage) blocks") })
    do {
      _ = try await Engine.start(storyConfiguration { $0.kvTiers = "nvme=1GiB:\(folder.blocks)" })
      Issue.record("two processes write one folder")
    } catch { #expect(error.exitCode == 2 && error.description.contains("another running process")) }
    await first.stop()
  }

  @Test func theDevicesSizeMayStandAmongTheTiers() throws {
    let plan = try StartPlan(
      storyConfiguration {
        $0.kvCacheBytes = nil; $0.kvTiers = "device=32MiB,host=1GiB"
      })
    #expect(plan.sizing.kvBytes <= 32 << 20 && plan.sizing.kvBytes > 31 << 20)
    #expect(plan.report.memoryTable.contains { $0.contains("KV host tier") })
    #expect(try StartPlan(storyConfiguration { $0.kvTiers = "device=auto" }).tiers == nil)
    #expect(try StartPlan(storyConfiguration()).tiers == nil)
  }

  @Test(arguments: [ENOSPC, EIO])
  func aDiskThatFailsIsSaidOnceAndServingGoesOn(code: Int32) async throws {
    let folder = try TestFolder()
    // The lock is a file of its own.
    try FileManager.default.createDirectory(atPath: folder.blocks, withIntermediateDirectories: true)
    let disk = MemoryFileSystem()
    let notices = Mutex<[String]>([])
    let expected = try await Engine.start(storyConfiguration())
    let right = try await expected.answers((0..<8).map { longRequest($0) }).map(\.choices)
    await expected.stop()

    var plan = try StartPlan(
      storyConfiguration {
        $0.kvBlocks = 40; $0.kvCacheBytes = nil; $0.kvTiers = "host=16MiB,nvme=1GiB:\(folder.blocks)"
      })
    plan.tiers?.fileSystem = disk
    let engine = try await Engine.start(plan, onNotice: { sentence in notices.withLock { $0.append(sentence) } })
    #expect(try await engine.answer(longRequest(0)).choices == right[0])
    #expect(try await engine.waits { $0.tiers?.fileBlocks ?? 0 > 0 && $0.tiers?.fileState == "healthy" })
    disk.fail(.write, with: code)
    for number in 1..<8 { #expect(try await engine.answer(longRequest(number)).choices == right[number]) }
    #expect(try await engine.waits { $0.tiers?.fileState != "healthy" })
    for number in 0..<8 { #expect(try await engine.answer(longRequest(number)).choices == right[number]) }
    #expect(engine.statistics.tiers?.fileState == "read-only")
    #expect(notices.withLock { $0.count { $0.contains("serving goes on") } } == 1)
    // Reads fail too: the tier is not asked any more.
    disk.fail(.read, with: EIO)
    disk.fail(.open, with: EIO)
    for number in 0..<8 { #expect(try await engine.answer(longRequest(number)).choices == right[number]) }
    await engine.stop()
  }
}
