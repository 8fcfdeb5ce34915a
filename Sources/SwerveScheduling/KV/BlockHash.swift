package import SwerveCore

/// The identity of a full block within its chain: a digest of the salt, of every token before the block and of the
/// block's own tokens. 128 bits, the same in every process, so that it can name blocks outside this one.
///
/// Two chains get the same value with probability 2⁻¹²⁸ × pairs: about 10⁻²⁰ among a billion blocks. The mixing is
/// fast, not cryptographic, so within the process nothing rests on it: `PrefixCache` compares tokens and parents on
/// every hit, and a collision, also one made on purpose, costs a comparison and never gives wrong keys and values.
package struct BlockHash: Hashable, Sendable {
  package var low: UInt64
  package var high: UInt64

  package init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  /// The start of the chains of one salt. O(salt)
  package init(salt: [UInt8]) {
    self.init(low: 0x6A09_E667_F3BC_C908, high: 0xBB67_AE85_84CA_A73B)
    for byte in salt { absorb(UInt64(byte)) }
    // The length ends the salt, so that no salt is the beginning of another.
    absorb(UInt64(salt.count) | 1 << 63)
  }

  /// The hash of the block that holds `tokens` and follows this one. O(tokens), no allocation.
  package func chained(_ tokens: Span<TokenID>) -> BlockHash {
    var next = self
    for index in tokens.indices { next.absorb(UInt64(UInt32(bitPattern: tokens[index].rawValue))) }
    next.absorb(UInt64(tokens.count) | 1 << 62)
    return next
  }

  /// Two lanes, each multiplied to 128 bits and folded, each seeing the other one: a changed word changes both.
  private mutating func absorb(_ word: UInt64) {
    let spread = (word &+ 1) &* 0x9E37_79B9_7F4A_7C15
    let newLow = Self.fold(low ^ spread, high | 1)
    let newHigh = Self.fold(high ^ (spread << 32 | spread >> 32) ^ 0x3C6E_F372_FE94_F82B, low ^ 0xA54F_F53A_5F1D_36F1)
    low = newLow &+ spread
    high = newHigh &+ low
  }

  private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }
}
