import SwerveTiers
import Testing
import TierTestSupport

/// What happens to a block file that is not as it was written: always a miss, never data, and never a second time.
@Suite struct BlockFileDamageTests {
  private let folder: TemporaryFolder
  private let files = MemoryFileSystem()
  private let master: MasterKey
  private let settings: FileTierConfiguration

  init() throws {
    folder = try TemporaryFolder()
    master = try folder.masterKey()
    settings = configuration(folder: folder.path, blockBytes: 64)
  }

  private func open() throws -> FileTier {
    try FileTier(settings, master: master, files: files, clock: files.clock)
  }

  /// Stores one block and returns its file.
  private func stored(_ tier: FileTier, _ number: Int = 1) throws -> (path: String, bytes: [UInt8]) {
    let before = Set(files.blockPaths)
    _ = tier.store(block(number), content(number, count: 64))
    let path = try #require(files.blockPaths.first { !before.contains($0) })
    return (path, try #require(files[path]))
  }

  @Test func everyBitOfAFileIsGuarded() throws {
    let tier = try open()
    let (path, bytes) = try stored(tier)
    #expect(bytes.count == settings.fileBytes)
    for place in bytes.indices {
      for bit in 0..<8 {
        var damaged = bytes
        damaged[place] ^= 1 << UInt8(bit)
        files[path] = damaged
        let reason = tier.fetch(block(1)).reason
        #expect(reason != nil, "byte \(place), bit \(bit) may be anything")
        // A miss removes the file, so the next one starts over.
        #expect(files[path] == nil && !tier.contains(block(1)))
        _ = tier.store(block(1), content(1, count: 64))
      }
    }
    #expect(tier.statistics.verifyFailures.values.reduce(0, +) == bytes.count * 8)
  }

  @Test func everyByteIsGuardedAlsoWhenItChangesWhileNoTierIsOpen() throws {
    let (path, bytes) = try stored(try open())
    for place in bytes.indices {
      var damaged = bytes
      damaged[place] ^= 0x80
      files[path] = damaged
      let tier = try open()
      #expect(tier.fetch(block(1)).reason != nil, "byte \(place)")
    }
    files[path] = bytes
    #expect(try open().fetch(block(1)).get() == content(1, count: 64))
  }

  @Test func everyLengthButTheRightOneIsAMiss() throws {
    let tier = try open()
    let (path, bytes) = try stored(tier)
    for length in Array(0..<bytes.count) + [bytes.count + 1, bytes.count * 2] {
      files[path] = length <= bytes.count ? Array(bytes[..<length]) : bytes + content(3, count: length - bytes.count)
      #expect(tier.fetch(block(1)).reason == .damaged)
      _ = tier.store(block(1), content(1, count: 64))
    }
    #expect(tier.fetch(block(1)).reason == nil)
  }

  /// Payloads are sealed in pieces of 64 KiB: as many as needed, in one order, each guarded.
  @Test func blocksOfSeveralPiecesComeBackAndAreGuarded() throws {
    let record = configuration(folder: folder.path, blockBytes: 0).fileBytes - 128 - 16
    let piece = 64 << 10
    for blockBytes in [piece - record - 1, piece - record, piece - record + 1, 2 * piece - record, 3 * piece + 77] {
      let folder = try TemporaryFolder()
      let files = MemoryFileSystem()
      let settings = configuration(folder: folder.path, blockBytes: blockBytes)
      let tier = try FileTier(settings, master: master, files: files, clock: files.clock)
      let written = content(5, count: blockBytes)
      _ = tier.store(block(1), written)
      let path = try #require(files.blockPaths.first)
      let bytes = try #require(files[path])
      let pieces = (record + blockBytes + piece - 1) / piece
      #expect(bytes.count == 128 + record + blockBytes + 16 * pieces && bytes.count == settings.fileBytes)
      #expect(try tier.fetch(block(1)).get() == written)
      #expect(!String(decoding: bytes, as: UTF8.self).contains(String(decoding: written.prefix(64), as: UTF8.self)))
      // A bit of each piece and of each tag.
      for number in 0..<pieces {
        let begin = 128 + number * (piece + 16)
        let end = min(begin + piece + 16, bytes.count)
        for place in [begin, (begin + end) / 2, end - 17, end - 16, end - 1] {
          var damaged = try #require(files[path])
          damaged[place] ^= 4
          files[path] = damaged
          #expect(tier.fetch(block(1)).reason == .damaged, "byte \(place) of \(bytes.count)")
          _ = tier.store(block(1), written)
        }
      }
      guard pieces > 2 else { continue }
      // Two pieces in each other's place.
      let stored = try #require(files[path])
      let first = 128..<128 + piece + 16
      let second = first.upperBound..<first.upperBound + piece + 16
      files[path] = Array(stored[..<128] + stored[second] + stored[first] + stored[second.upperBound...])
      #expect(tier.fetch(block(1)).reason == .damaged)
    }
  }

  @Test func aFileUnderAnotherBlocksNameIsAMiss() throws {
    let tier = try open()
    let first = try stored(tier, 1)
    let second = try stored(tier, 2)
    files[second.path] = first.bytes
    #expect(tier.fetch(block(2)).reason == .stale)
    #expect(try tier.fetch(block(1)).get() == content(1, count: 64))
  }

  @Test func anOlderFileOfTheSameBlockIsStale() throws {
    let tier = try open()
    let old = try stored(tier)
    tier.remove(block(1))
    let new = try stored(tier)
    #expect(old.path == new.path && old.bytes != new.bytes)
    files[new.path] = old.bytes
    #expect(tier.fetch(block(1)).reason == .stale)
    #expect(tier.statistics.verifyFailures[.stale] == 1)
  }

  @Test func withoutTheRightKeyNothingIsFound() throws {
    do {
      let tier = try open()
      for number in 0..<20 { _ = tier.store(block(number), content(number, count: 64)) }
    }
    let otherKey = try folder.masterKey(byte: 8, name: "other.key")
    do {
      let tier = try FileTier(settings, master: otherKey, files: files, clock: files.clock)
      #expect(tier.statistics.found == 0 && tier.statistics.foreign == 20)
      for number in 0..<20 { #expect(tier.fetch(block(number)).reason == .noKey) }
      _ = tier.store(block(0), content(0, count: 64))
      #expect(tier.contains(block(0)))
    }
    // The right key finds its blocks again.
    let tier = try open()
    #expect(tier.statistics.found == 20 && tier.statistics.foreign == 1)
    for number in 0..<20 { #expect(try tier.fetch(block(number)).get() == content(number, count: 64)) }
  }

  @Test func blocksOfAProcessKeyEndWithTheProcess() throws {
    do {
      let tier = try FileTier(settings, master: .ephemeral(), files: files, clock: files.clock)
      for number in 0..<5 { _ = tier.store(block(number), content(number, count: 64)) }
      #expect(try tier.fetch(block(0)).get() == content(0, count: 64))
      #expect(!files.paths.contains { $0.hasSuffix(".key") })
    }
    let tier = try FileTier(settings, master: .ephemeral(), files: files, clock: files.clock)
    #expect(tier.statistics.removedAtStart == 5 && tier.blockCount == 0 && files.blockPaths.isEmpty)
  }

  @Test func aDestroyedKeyTakesItsTenantsBlocksWithIt() throws {
    let tier = try open()
    for number in 0..<6 {
      _ = tier.store(block(number, tenant: number % 2 == 0 ? "even" : "odd"), content(number, count: 64))
    }
    let copies = files.blockPaths.map { ($0, files[$0]) }
    try tier.destroyKey(of: TenantID(name: Array("even".utf8)))
    #expect(tier.fetch(block(0, tenant: "even")).reason == .noKey)
    #expect(try tier.fetch(block(1, tenant: "odd")).get() == content(1, count: 64))
    #expect(files.blockPaths.count == 3)
    // Neither a new key nor a copy of the files brings them back.
    _ = tier.store(block(0, tenant: "even"), content(0, count: 64))
    for (path, bytes) in copies { files[path] = bytes }
    #expect(tier.fetch(block(2, tenant: "even")).reason == .absent)
    try tier.destroyKey(of: TenantID(name: Array("nobody".utf8)))
  }

  @Test func aKeyFileRemovedWhileNoTierIsOpenTakesTheBlocksWithIt() throws {
    do { _ = try stored(try open()) }
    files[try #require(files.paths.first { $0.hasSuffix(".key") })] = nil
    let tier = try open()
    #expect(tier.statistics.foreign == 1 && tier.fetch(block(1)).reason == .noKey)
    _ = tier.store(block(2), content(2, count: 64))
    #expect(tier.fetch(block(1)).reason == .absent)
  }

  @Test func whatIsNoBlockFileIsRemovedAtStart() throws {
    do { _ = try stored(try open()) }
    let blocks = folder.path + "/blocks"
    files[blocks + "/00/junk"] = [1, 2, 3]
    files[blocks + "/00/" + String(repeating: "0", count: 32) + ".kv"] = [UInt8](repeating: 7, count: 500)
    files[blocks + "/ff/" + String(repeating: "f", count: 32) + ".kv"] = []
    files[folder.path + "/incoming/abc.1"] = [0]
    let tier = try open()
    #expect(tier.statistics.removedAtStart == 4 && tier.statistics.found == 1 && files.blockPaths.count == 1)
  }
}
