import Glibc
import SwerveTiers
import Testing
import TierTestSupport

/// A disk that is full, broken or slow: the tier stops writing, then stops, and never fails its callers.
@Suite struct FileTierFaultTests {
  private let folder: TemporaryFolder
  private let files = MemoryFileSystem()
  private let tier: FileTier
  private let bytes = content(1, count: 64)

  init() throws {
    folder = try TemporaryFolder()
    var settings = configuration(folder: folder.path, blockBytes: 64)
    settings.synchronizesBlocks = true
    tier = try FileTier(settings, master: folder.masterKey(), files: files, clock: files.clock)
    #expect(tier.store(block(0), content(0, count: 64)) == .stored(fileBytes: settings.fileBytes))
  }

  private func isClean() -> Bool {
    files.openCount == 0 && !files.paths.contains { $0.contains("/incoming/") } && tier.violation() == nil
      && files.blockPaths.count == tier.blockCount
  }

  @Test func aFullDiskStopsWritingUntilThereIsRoom() throws {
    files.limitSpace(to: 100)
    #expect(tier.store(block(1), bytes) == .refused(.diskFull))
    #expect(tier.healthState == .readOnly && isClean())
    #expect(try tier.fetch(block(0)).get() == content(0, count: 64))
    #expect(tier.store(block(1), bytes) == .refused(.readOnly))
    // However often the probe finds the disk full, reading goes on.
    for _ in 0..<20 {
      files.advance(400)
      #expect(tier.store(block(1), bytes) == .refused(.diskFull))
      #expect(tier.store(block(1), bytes) == .refused(.readOnly))
    }
    #expect(try tier.fetch(block(0)).get() == content(0, count: 64))
    files.limitSpace(to: .max)
    #expect(tier.store(block(1), bytes) == .refused(.readOnly))
    files.advance(400)
    guard case .stored = tier.store(block(1), bytes) else {
      Issue.record("freed space was not noticed")
      return
    }
    #expect(tier.healthState == .healthy && isClean())
  }

  @Test(arguments: [MemoryFileSystem.Call.create, .write, .synchronize, .close, .rename])
  func aDiskThatCannotBeWrittenIsReadThenOff(call: MemoryFileSystem.Call) throws {
    files.fail(call, with: EIO)
    #expect(tier.store(block(1), bytes) == .refused(.failure(errno: EIO)))
    #expect(tier.healthState == .readOnly && isClean())
    files.fail(call, with: nil)
    #expect(try tier.fetch(block(0)).get() == content(0, count: 64))
    files.fail(call, with: EIO)
    for _ in 0..<3 {
      #expect(tier.healthState == .readOnly)
      files.advance(400)
      #expect(tier.store(block(1), bytes) == .refused(.failure(errno: EIO)))
    }
    #expect(tier.healthState == .off)
    files.fail(call, with: nil)
    files.advance(10_000)
    #expect(tier.fetch(block(0)).reason == .absent && !tier.contains(block(0)))
    #expect(tier.store(block(1), bytes) == .refused(.readOnly))
  }

  @Test func aDiskThatCannotBeReadIsOff() throws {
    files.fail(.read, with: EIO)
    for _ in 0..<3 { #expect(tier.fetch(block(0)).reason == .failure(errno: EIO)) }
    files.fail(.read, with: nil)
    #expect(try tier.fetch(block(0)).get() == content(0, count: 64))
    files.fail(.open, with: EIO)
    for _ in 0..<4 { #expect(tier.fetch(block(0)).reason == .failure(errno: EIO)) }
    #expect(tier.healthState == .off && files.openCount == 0)
    #expect(tier.fetch(block(0)).reason == .absent)
    #expect(tier.statistics.readFailures == 7)
  }

  @Test func aFileThatSomebodyRemovedIsAMissAndNotAFault() {
    for number in 1..<10 { _ = tier.store(block(number), bytes) }
    for path in files.blockPaths { files[path] = nil }
    for number in 0..<10 { #expect(tier.fetch(block(number)).reason == .absent) }
    #expect(tier.healthState == .healthy && tier.blockCount == 0 && tier.usedBytes == 0)
  }

  @Test func aSlowDiskStopsWritingAndASlowReaderStopsTheTier() {
    files.slow(.synchronize, by: 6)
    for number in 1..<5 {
      #expect(tier.healthState == .healthy)
      _ = tier.store(block(number), bytes)
    }
    #expect(tier.healthState == .readOnly)
    files.slow(.synchronize, by: nil)
    files.advance(6)
    _ = tier.store(block(9), bytes)
    #expect(tier.healthState == .healthy)
    files.slow(.read, by: 6)
    for _ in 0..<4 { _ = tier.fetch(block(0)) }
    #expect(tier.healthState == .off)
  }

  @Test func aKeyThatCannotBeWrittenIsNotUsed() throws {
    files.fail(.synchronize, with: EIO)
    #expect(tier.store(block(1, tenant: "new"), bytes) == .refused(.failure(errno: EIO)))
    files.fail(.synchronize, with: nil)
    #expect(tier.fetch(block(1, tenant: "new")).reason == .noKey)
    #expect(files.paths.count { $0.hasSuffix(".key") } == 1)
  }

  @Test func aFolderThatCannotBeUsedIsASentence() throws {
    let other = MemoryFileSystem()
    other.fail(.makeFolder, with: EACCES)
    #expect {
      try FileTier(configuration(folder: "/nowhere"), master: .ephemeral(), files: other)
    } throws: {
      "\($0)".hasPrefix("/nowhere cannot be used for KV blocks (Permission denied); give a folder")
    }
    #expect(throws: TierError.self) {
      try FileTier(configuration(folder: "/dev/null/x"), master: .ephemeral())
    }
    var small = configuration(folder: folder.path)
    small.capacityBytes = small.fileBytes - 1
    #expect(throws: TierError.self) { try FileTier(small, master: .ephemeral()) }
  }
}
