import Foundation
import SwerveTiers
import Testing
import TierTestSupport

@Suite struct KeyTests {
  private let key = content(3, count: 32)

  @Test func aKeyFileHoldsTheKeyRawInHexadecimalOrInBase64() throws {
    let folder = try TemporaryFolder()
    let hexadecimal = key.map { String(format: "%02x", $0) }.joined()
    let forms: [[UInt8]] = [
      key, Array(hexadecimal.utf8), Array((hexadecimal.uppercased() + "\n").utf8),
      Data(key).base64EncodedData().map { $0 },
      Array((Data(key).base64EncodedString() + " \r\n").utf8),
    ]
    let files = MemoryFileSystem()
    let settings = configuration(folder: folder.path)
    do {
      let tier = try FileTier(settings, master: MasterKey(file: folder.keyFile(key)), files: files)
      _ = tier.store(block(1), content(1, count: 256))
    }
    // The same key in every form: each opens what the first one sealed.
    for form in forms {
      let tier = try FileTier(settings, master: MasterKey(file: folder.keyFile(form)), files: files)
      #expect(try tier.fetch(block(1)).get() == content(1, count: 256))
    }
  }

  @Test func anythingElseIsRefusedWithASentence() throws {
    let folder = try TemporaryFolder()
    let base64 = Data(key).base64EncodedString()
    let wrong: [[UInt8]] = [
      [], [10], Array(key.dropLast()), key + [1], Array(repeating: UInt8(ascii: "g"), count: 64),
      Array(repeating: UInt8(ascii: "a"), count: 63), Array(base64.dropLast().utf8),
      Array(("*" + base64.dropFirst()).utf8),
      Array(repeating: UInt8(ascii: "/"), count: 43) + [UInt8(ascii: "=")], [UInt8](repeating: 65, count: 5000),
    ]
    for (index, bytes) in wrong.enumerated() {
      let path = try folder.keyFile(bytes)
      #expect {
        try MasterKey(file: path)
      } throws: {
        let isRight = "\($0)".hasPrefix("the key file \(path) does not hold a key; write 32 random bytes")
        #expect(isRight, "content \(index): \($0)")
        return isRight
      }
    }
    #expect(throws: TierError.self) { try MasterKey(file: folder.path) }
    #expect(throws: TierError.self) { try MasterKey(file: folder.path + "/absent") }
  }

  @Test func aKeyFileThatEverybodyMayUseIsRefused() throws {
    let folder = try TemporaryFolder()
    for mode in [0o604, 0o602, 0o666, 0o601] {
      let path = try folder.keyFile(key, mode: mode)
      #expect {
        try MasterKey(file: path)
      } throws: {
        "\($0)" == "the key file \(path) can be used by every user of this machine; run chmod 600 on it."
      }
    }
    for mode in [0o400, 0o600, 0o640] { _ = try MasterKey(file: folder.keyFile(key, name: "\(mode)", mode: mode)) }
  }

  @Test func aDamagedTenantKeyIsMissesAndIsNotReplaced() throws {
    let folder = try TemporaryFolder()
    let files = MemoryFileSystem()
    let master = try folder.masterKey()
    let settings = configuration(folder: folder.path)
    do {
      let tier = try FileTier(settings, master: master, files: files)
      _ = tier.store(block(1), content(1, count: 256))
    }
    let path = try #require(files.paths.first { $0.hasSuffix(".key") })
    let whole = try #require(files[path])
    for place in whole.indices where place % 5 == 0 || place < 16 {
      var damaged = whole
      damaged[place] ^= 4
      files[path] = damaged
      // The reserved bytes are authenticated too, so every change is noticed.
      let tier = try FileTier(settings, master: master, files: files)
      #expect(tier.fetch(block(1)).reason == .noKey, "byte \(place)")
      #expect(tier.store(block(1), content(1, count: 256)) == .refused(.noKey))
      #expect(files[path] == damaged)
    }
    files[path] = whole
    let tier = try FileTier(settings, master: master, files: files)
    #expect(try tier.fetch(block(1)).get() == content(1, count: 256))
  }

  /// What lies on the disk tells neither tokens nor keys and values, nor who the tenants are.
  @Test func filesHoldNothingThatCanBeReadWithoutTheKey() throws {
    let folder = try TemporaryFolder()
    let blockBytes = 32 << 10
    let tier = try FileTier(
      configuration(folder: folder.path + "/tier", blockBytes: blockBytes), master: try folder.masterKey())
    let pattern = Array("known plaintext pattern of keys and values ".utf8)
    let bytes = (0..<blockBytes).map { pattern[$0 % pattern.count] }
    let identities = (0..<8).map { block($0, tenant: "a tenant's name") }
    for identity in identities { _ = tier.store(identity, bytes) }
    var counts = [Int](repeating: 0, count: 256)
    var total = 0
    var scanned = 0
    let needles = [
      pattern, Array("tenant".utf8), [4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0], [UInt8](repeating: 7, count: 16),
    ]
    let enumerator = try #require(FileManager.default.enumerator(atPath: folder.path + "/tier"))
    for case let name as String in enumerator {
      #expect(!name.contains("tenant"))
      for identity in identities { #expect(!name.contains(identity.digest.short.hexadecimal)) }
      guard name.hasSuffix(".kv") || name.hasSuffix(".key") else { continue }
      let content = [UInt8](try Data(contentsOf: URL(filePath: folder.path + "/tier/" + name)))
      scanned += 1
      for needle in needles {
        #expect(Data(content).range(of: Data(needle)) == nil, "\(name) holds plaintext")
      }
      for identity in identities {
        var digest = [UInt8](repeating: 0, count: 32)
        for value in [identity.digest, identity.parent, identity.scope.root] {
          digest.withUnsafeMutableBytes { value.write(to: $0, at: 0) }
          #expect(Data(content).range(of: Data(digest)) == nil)
        }
      }
      if name.hasSuffix(".kv") {
        for byte in content.dropFirst(128) {
          counts[Int(byte)] += 1
          total += 1
        }
      }
      let mode = try #require(
        FileManager.default.attributesOfItem(atPath: folder.path + "/tier/" + name)[.posixPermissions] as? Int)
      #expect(mode == 0o600)
    }
    #expect(scanned == 9)
    let entropy = counts.reduce(0.0) { sum, count in
      let share = Double(count) / Double(total)
      return count == 0 ? sum : sum - share * log2(share)
    }
    #expect(entropy > 7.99)
    // Equal blocks under equal keys are not equal files.
    #expect(try tier.fetch(identities[0]).get() == bytes)
  }
}
