import Dispatch
import Foundation
import SwerveCore
import SwerveTiers
import Synchronization
import Testing
import TierTestSupport

@Suite struct FileTierTests {
  private func tier(
    _ files: MemoryFileSystem, _ settings: FileTierConfiguration = configuration(), master: MasterKey
  ) throws -> FileTier {
    try FileTier(settings, master: master, files: files, clock: files.clock)
  }

  /// The lock is a real file, so every tier has a real folder; the blocks are where `files` says.
  private func folder() throws -> TemporaryFolder { try TemporaryFolder() }

  @Test func aBlockComesBackAsItWasStoredAlsoFromANewProcess() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    let settings = configuration(folder: folder.path)
    let master = try folder.masterKey()
    do {
      let tier = try tier(files, settings, master: master)
      #expect(tier.fetch(block(1)).reason == .noKey)
      #expect(tier.store(block(1), content(1, count: 256)) == .stored(fileBytes: settings.fileBytes))
      #expect(tier.store(block(1), content(1, count: 256)) == .present)
      #expect(try tier.fetch(block(1)).get() == content(1, count: 256))
      #expect(tier.fetch(block(2)).reason == .absent)
      #expect(tier.contains(block(1)) && !tier.contains(block(2)))
      #expect(tier.usedBytes == settings.fileBytes && tier.violation() == nil)
    }
    let tier = try tier(files, settings, master: master)
    #expect(tier.statistics.found == 1 && tier.contains(block(1)))
    #expect(try tier.fetch(block(1)).get() == content(1, count: 256))
    #expect(files.openCount == 0)
  }

  @Test func shortReadsAndWritesChangeNothing() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    files.limitTransfers(to: 7)
    let tier = try tier(files, configuration(folder: folder.path), master: .ephemeral())
    for number in 0..<5 { _ = tier.store(block(number), content(number, count: 256)) }
    for number in 0..<5 { #expect(try tier.fetch(block(number)).get() == content(number, count: 256)) }
  }

  @Test func theCapacityHoldsAndTheOneNotUsedForTheLongestTimeGoesFirstAlsoAfterARestart() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    var settings = configuration(folder: folder.path)
    settings.capacityBytes = 3 * settings.fileBytes + 10
    let master = try folder.masterKey()
    do {
      let tier = try tier(files, settings, master: master)
      for number in 0..<3 { _ = tier.store(block(number), content(number, count: 256)) }
      _ = tier.fetch(block(0))
      _ = tier.store(block(3), content(3, count: 256))
      #expect([0, 1, 2, 3].map { tier.contains(block($0)) } == [true, false, true, true])
      _ = tier.fetch(block(2))
    }
    let tier = try tier(files, settings, master: master)
    _ = tier.store(block(4), content(4, count: 256))
    #expect([0, 2, 3, 4].map { tier.contains(block($0)) } == [false, true, true, true])
    #expect(files.blockPaths.count == 3 && tier.usedBytes <= settings.capacityBytes && tier.violation() == nil)
    settings.capacityBytes = settings.fileBytes
    #expect(throws: TierError.inUse(path: folder.path)) { try self.tier(files, settings, master: master) }
  }

  @Test func aSmallerCapacityAtTheNextStartEvicts() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    var settings = configuration(folder: folder.path)
    let master = try folder.masterKey()
    do {
      let tier = try tier(files, settings, master: master)
      for number in 0..<10 { _ = tier.store(block(number), content(number, count: 256)) }
    }
    settings.capacityBytes = 4 * settings.fileBytes
    let tier = try tier(files, settings, master: master)
    #expect(tier.blockCount == 4 && files.blockPaths.count == 4)
    #expect((6..<10).allSatisfy { tier.contains(block($0)) })
  }

  @Test func aReadOnlyTierReadsAndChangesNothing() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    var settings = configuration(folder: folder.path)
    let master = try folder.masterKey()
    do {
      let tier = try tier(files, settings, master: master)
      _ = tier.store(block(1), content(1, count: 256))
    }
    files[folder.path + "/incoming/left"] = [1]
    settings.isReadOnly = true
    settings.capacityBytes = 0
    let before = files.paths
    let tier = try tier(files, settings, master: master)
    let second = try self.tier(files, settings, master: master)
    #expect(try tier.fetch(block(1)).get() == content(1, count: 256))
    #expect(try second.fetch(block(1)).get() == content(1, count: 256))
    #expect(tier.store(block(2), content(2, count: 256)) == .refused(.readOnly))
    tier.remove(block(1))
    try tier.removeAll()
    try tier.destroyKey(of: TenantID())
    #expect(tier.healthState == .readOnly && files.paths == before)
  }

  @Test func anotherModelTenantOrShapeIsAMiss() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    let master = try folder.masterKey()
    let tier = try tier(files, configuration(folder: folder.path), master: master)
    _ = tier.store(block(1, tenant: "a"), content(1, count: 256))
    #expect(tier.fetch(block(1, tenant: "b")).reason == .noKey)
    _ = tier.store(block(2, tenant: "b"), content(2, count: 256))
    #expect(tier.fetch(block(1, tenant: "b")).reason == .absent)
    let other = block(1, model: Digest(of: [9]))
    #expect(tier.fetch(other).reason == .otherShape)
    #expect(tier.store(other, content(1, count: 256)) == .refused(.wrongShape))
    #expect(tier.store(block(3), content(1, count: 255)) == .refused(.wrongShape))
  }

  @Test func filesOfAnotherModelStayButAreEvictedFirst() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    let master = try folder.masterKey()
    let otherModel = Digest(of: [9])
    var settings = configuration(folder: folder.path, model: otherModel)
    settings.capacityBytes = 3 * settings.fileBytes
    do {
      let tier = try tier(files, settings, master: master)
      for number in 0..<2 { _ = tier.store(block(number, model: otherModel), content(number, count: 256)) }
    }
    settings.model = testModel
    do {
      let tier = try tier(files, settings, master: master)
      #expect(tier.statistics.foreign == 2 && tier.statistics.found == 0)
      for number in 0..<2 { _ = tier.store(block(number), content(number, count: 256)) }
      #expect(tier.blockCount == 3 && tier.contains(block(0)) && tier.contains(block(1)))
    }
    settings.model = otherModel
    let tier = try tier(files, settings, master: master)
    #expect(tier.statistics.foreign == 2 && tier.statistics.found == 1)
    #expect(try tier.fetch(block(1, model: otherModel)).get() == content(1, count: 256))
  }

  @Test func removingAllHoldsAlsoWhenTheFilesCannotBeRemoved() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    let master = try folder.masterKey()
    do {
      let tier = try tier(files, configuration(folder: folder.path), master: master)
      for number in 0..<4 { _ = tier.store(block(number), content(number, count: 256)) }
      files.fail(.remove, with: 13)
      try tier.removeAll()
      files.fail(.remove, with: nil)
      #expect(tier.blockCount == 0 && tier.usedBytes == 0 && files.blockPaths.count == 4)
      _ = tier.store(block(9), content(9, count: 256))
    }
    let tier = try tier(files, configuration(folder: folder.path), master: master)
    #expect(tier.statistics.found == 1 && tier.statistics.removedAtStart == 4 && files.blockPaths.count == 1)
    #expect(tier.contains(block(9)) && !tier.contains(block(0)))
  }

  /// Few blocks, little room and many threads: the same block is written, read, evicted and removed at once.
  @Test func severalThreadsNeverReadWrongBytes() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    var settings = configuration(folder: folder.path, blockBytes: 64)
    settings.capacityBytes = 6 * settings.fileBytes
    let tier = try FileTier(settings, master: .ephemeral(), files: files)
    let hits = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      var random = SeededRandom(seed: UInt64(thread) + 1)
      for _ in 0..<(isLong ? 50_000 : 5_000) {
        let number = Int.random(in: 0..<10, using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<5: _ = tier.store(block(number), content(number, count: 64))
        case 5: tier.remove(block(number))
        default:
          guard case .success(let bytes) = tier.fetch(block(number)) else { continue }
          hits.add(1, ordering: .relaxed)
          if bytes != content(number, count: 64) { Issue.record("wrong bytes of block \(number)") }
        }
      }
    }
    #expect(hits.load(ordering: .relaxed) > 100)
    #expect(tier.violation() == nil && tier.healthState == .healthy && files.openCount == 0)
    #expect(tier.statistics.verifyFailures.keys.allSatisfy { $0 == .stale })
  }

  /// Everything a caller, a restart and a damaged disk may do, against a dictionary.
  @Test func randomOperationsAgreeWithAModel() throws {
    let folder = try folder()
    let files = MemoryFileSystem()
    let master = try folder.masterKey()
    var settings = configuration(folder: folder.path, blockBytes: 64)
    settings.capacityBytes = 40 * settings.fileBytes
    var random = SeededRandom(seed: 99)
    var open: FileTier? = try tier(files, settings, master: master)
    /// Blocks that were stored and not removed since: any of them may have been evicted.
    var stored: Set<Int> = []
    let tenants = ["", "a", "b"]
    func identity(_ number: Int) -> BlockIdentity { block(number, tenant: tenants[number % 3]) }
    var hits = 0
    for step in 0..<(isLong ? 1_000_000 : 100_000) {
      let number = Int.random(in: 0..<80, using: &random)
      if step % 1000 == 999 {
        open = nil
        open = try self.tier(files, settings, master: master)
      }
      let tier = try #require(open)
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<40:
        switch tier.store(identity(number), content(number, count: 64), cost: Double(number)) {
        case .stored: stored.insert(number)
        case .present: #expect(stored.contains(number))
        case .refused(let reason): Issue.record("step \(step): refused: \(reason)")
        }
        #expect(tier.contains(identity(number)))
      case 40..<85:
        let isThere = tier.contains(identity(number))
        switch tier.fetch(identity(number)) {
        case .success(let bytes):
          hits += 1
          #expect(isThere && stored.contains(number))
          if bytes != content(number, count: 64) { Issue.record("step \(step): wrong bytes") }
        case .failure(let miss):
          #expect(!isThere && [.absent, .noKey].contains(miss.reason))
          stored.remove(number)
        }
      case 85..<95:
        tier.remove(identity(number))
        stored.remove(number)
        #expect(!tier.contains(identity(number)))
      case 95..<98:
        // The disk flips a bit: the block must become a miss.
        guard let path = files.blockPaths.randomElement(using: &random), var bytes = files[path] else { continue }
        bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        files[path] = bytes
        for number in stored where tier.contains(identity(number)) {
          if case .success(let found) = tier.fetch(identity(number)), found != content(number, count: 64) {
            Issue.record("step \(step): damaged bytes were believed")
          }
        }
      case 98 where step % 10 == 0:
        let id = tenants[number % 3]
        try tier.destroyKey(of: TenantID(name: Array(id.utf8)))
        stored = stored.filter { tenants[$0 % 3] != id }
      default: break
      }
      if step % 499 == 0 {
        #expect(open?.violation() == nil)
        #expect((open?.blockCount ?? 0) <= 40 && (open?.blockCount ?? 0) == files.blockPaths.count)
      }
    }
    #expect(hits > 1000)
    try open?.removeAll()
    #expect(open?.usedBytes == 0 && open?.blockCount == 0 && files.blockPaths.isEmpty && files.openCount == 0)
    #expect(open?.violation() == nil)
  }
}
