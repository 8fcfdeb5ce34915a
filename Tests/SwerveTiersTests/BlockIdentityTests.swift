import SwerveCore
import SwerveTiers
import Testing

@Suite struct BlockIdentityTests {
  private let tokens = (0..<testTokens).map { TokenID($0) }

  @Test func theDigestCoversEverythingThatMustBeEqual() {
    let usual = BlockIdentity(scope: scope(), tokens: tokens)
    var others = [
      BlockIdentity(scope: scope(tenant: "a"), tokens: tokens),
      BlockIdentity(scope: scope(model: Digest(of: [])), tokens: tokens),
      usual.next(tokens: tokens),
    ]
    func with(
      _ type: KVType = .bfloat16, layers: Int = 2, salt: [UInt8] = []
    ) -> BlockIdentity {
      BlockIdentity(
        scope: BlockScope(
          model: testModel, elementType: type, layerCount: layers, blockTokens: testTokens, tenant: TenantID(),
          salt: salt), tokens: tokens)
    }
    others += [with(.float16), with(.float32), with(layers: 3), with(salt: [0]), with(salt: [0, 0])]
    for place in tokens.indices {
      var changed = tokens
      changed[place] = TokenID(1000)
      others.append(BlockIdentity(scope: scope(), tokens: changed))
    }
    #expect(Set(others.map(\.digest) + [usual.digest]).count == others.count + 1)
    #expect(with() == usual)
  }

  /// SHA-256 over the parent's 32 bytes and the tokens' little-endian bytes.
  @Test func theChainIsStableBetweenVersions() {
    let first = BlockIdentity(scope: scope(), parent: Digest(of: []), tokens: tokens)
    var message = [UInt8](repeating: 0, count: 32)
    message.withUnsafeMutableBytes { Digest(of: []).write(to: $0, at: 0) }
    for token in tokens { message += [UInt8(token.rawValue), 0, 0, 0] }
    #expect(first.digest == Digest(of: message))
    #expect(first.next(tokens: tokens).parent == first.digest)
    // The first 16 bytes of SHA-256 of nothing.
    #expect(Digest(of: []).short.hexadecimal == "e3b0c44298fc1c149afbf4c8996fb924")
  }

  @Test func hexadecimalNamesAreReadBackAndNothingElseIs() {
    let name = ShortDigest.random()
    #expect(ShortDigest(hexadecimal: name.hexadecimal) == name)
    for wrong in [
      "", "00", String(repeating: "g", count: 32), String(repeating: "A", count: 32), name.hexadecimal + "0",
    ] {
      #expect(ShortDigest(hexadecimal: wrong) == nil)
    }
  }
}
