import Foundation
import SwerveCore
import SwerveTiers
import Testing

/// Whether the long forms of the tests run.
let isLong = ProcessInfo.processInfo.environment["SWERVE_LONG"] == "1"

/// xorshift64*: the same sequence in every run.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed | 1 }

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}

let testModel = Digest(of: Array("test model".utf8))
let testTokens = 16

func scope(tenant: String = "", model: Digest = testModel) -> BlockScope {
  BlockScope(
    model: model, elementType: .bfloat16, layerCount: 2, blockTokens: testTokens,
    tenant: TenantID(name: Array(tenant.utf8)))
}

/// A first block of its own for each number.
func block(_ number: Int, tenant: String = "", model: Digest = testModel) -> BlockIdentity {
  BlockIdentity(
    scope: scope(tenant: tenant, model: model),
    tokens: (0..<testTokens).map { TokenID($0 < 4 ? number >> ($0 * 8) & 255 : $0) })
}

/// A block's bytes: different for each number, and recognisable everywhere.
func content(_ number: Int, count: Int) -> [UInt8] {
  var random = SeededRandom(seed: UInt64(number) &* 0x9E37_79B9 + 12345)
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}

extension FileTier {
  func store(_ identity: BlockIdentity, _ bytes: [UInt8], cost: Double = 1) -> StoreOutcome {
    bytes.withUnsafeBytes { store(identity, from: $0, reloadCost: cost, isLossy: false) }
  }

  /// The bytes, or why there are none.
  func fetch(_ identity: BlockIdentity) -> Result<[UInt8], Miss> {
    var bytes = [UInt8](repeating: 0xEE, count: configuration.blockBytes)
    switch bytes.withUnsafeMutableBytes({ load(identity, into: $0) }) {
    case .hit: return .success(bytes)
    case .miss(let reason): return .failure(Miss(reason: reason))
    }
  }
}

struct Miss: Error, Equatable {
  let reason: MissReason
}

extension Result where Failure == Miss {
  var reason: MissReason? { if case .failure(let miss) = self { miss.reason } else { nil } }
}

func configuration(
  folder: String = "/tier", capacityBytes: Int = 1 << 30, blockBytes: Int = 256, model: Digest = testModel
) -> FileTierConfiguration {
  FileTierConfiguration(
    folder: folder, capacityBytes: capacityBytes, model: model, elementType: .bfloat16, layerCount: 2,
    blockTokens: testTokens, blockBytes: blockBytes)
}

/// A folder of this test alone, removed at the end, with a key file in it.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "swerve-tiers-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a key file and reads it.
  func masterKey(byte: UInt8 = 7, name: String = "master.key") throws -> MasterKey {
    try MasterKey(file: keyFile([UInt8](repeating: byte, count: 32), name: name))
  }

  func keyFile(_ bytes: [UInt8], name: String = "master.key", mode: Int = 0o600) throws -> String {
    let file = path + "/" + name
    try Data(bytes).write(to: URL(filePath: file))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file)
    return file
  }
}
