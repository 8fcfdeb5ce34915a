import Foundation
import Glibc
import SwerveCore
import SwerveTiers
import Testing

/// Real files, real processes.
@Suite struct RestartTests {
  @Test func aRestartFindsTheBlocksAgain() throws {
    let folder = try TemporaryFolder()
    let settings = configuration(folder: folder.path + "/deep/er/tier", blockBytes: 3000)
    do {
      let tier = try FileTier(settings, master: folder.masterKey())
      #expect(throws: TierError.inUse(path: settings.folder)) { try FileTier(settings, master: .ephemeral()) }
      for number in 0..<400 { _ = tier.store(block(number), content(number, count: 3000)) }
    }
    let tier = try FileTier(settings, master: folder.masterKey())
    let found = try (0..<400).count { try tier.fetch(block($0)).get() == content($0, count: 3000) }
    #expect(found == 400 && tier.statistics.found == 400 && tier.statistics.removedAtStart == 0)
  }

  /// The program of the benchmark, which lies beside this one.
  private static func program() throws -> String {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var folder = URL(filePath: own).deletingLastPathComponent()
    // The tests run in a bundle's program, or in a helper of the toolchain that is told where the bundle is.
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
    if !FileManager.default.isExecutableFile(atPath: folder.appending(path: "tiers-benchmark").path()), let bundle {
      folder = URL(filePath: bundle).deletingLastPathComponent()
    }
    let program = folder.appending(path: "tiers-benchmark").path()
    try #require(FileManager.default.isExecutableFile(atPath: program), "\(program) is not built")
    return program
  }

  /// Stores blocks in a child until it has printed `count` numbers, kills it, and returns the numbers it printed.
  private func spillAndKill(folder: String, keyFile: String, after count: Int) throws -> Int {
    let process = Process()
    process.executableURL = URL(filePath: try Self.program())
    process.arguments = ["spill", folder, keyFile]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    var text = Data()
    while text.filter({ $0 == 10 }).count < count {
      let more = output.fileHandleForReading.availableData
      if more.isEmpty { break }
      text += more
    }
    kill(process.processIdentifier, SIGKILL)
    text += output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationReason == .uncaughtSignal)
    return text.count { $0 == 10 }
  }

  /// The program's blocks.
  private func spilled(_ number: Int) -> BlockIdentity {
    BlockIdentity(
      scope: BlockScope(
        model: Digest(of: Array("benchmark".utf8)), elementType: .bfloat16, layerCount: 2, blockTokens: 16,
        tenant: TenantID()), tokens: (0..<16).map { TokenID($0 == 0 ? number : $0) })
  }

  @Test func aProcessKilledWhileItSpillsLosesAtMostTheBlockAtWork() throws {
    let folder = try TemporaryFolder()
    let keyFile = try folder.keyFile([UInt8](repeating: 5, count: 32))
    let tierFolder = folder.path + "/tier"
    var settings = configuration(
      folder: tierFolder, blockBytes: 64 << 10, model: Digest(of: Array("benchmark".utf8)))
    settings.capacityBytes = 1 << 40
    var kept = 0
    for round in 1...(isLong ? 50 : 5) {
      // Each child finds the blocks of those before it, so it comes further.
      let printed = try spillAndKill(folder: tierFolder, keyFile: keyFile, after: kept + 10 + round * 3)
      #expect(printed >= kept)
      kept = max(kept, printed)
      let tier = try FileTier(settings, master: MasterKey(file: keyFile))
      // What was said to be kept is kept; the one after it may be.
      #expect(tier.blockCount >= kept && tier.blockCount <= kept + 1)
      for number in 0..<kept {
        let bytes = try tier.fetch(spilled(number)).get()
        #expect(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } == UInt64(number))
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: tierFolder + "/incoming").isEmpty)
      #expect(tier.violation() == nil && tier.statistics.verifyFailures.isEmpty)
    }
    #expect(kept > 10)
  }
}
