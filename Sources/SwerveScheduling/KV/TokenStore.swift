import SwerveCore

/// The tokens of all blocks in as few bits as their vocabulary needs: 16, and 2, 4, 8 or 16 more where there are larger
/// ones. A token beyond what was announced widens it once, at the cost of copying all.
struct TokenStore {
  let blockSize: Int
  /// [blocks × blockSize] the low 16 bits.
  private var lows: [UInt16]
  /// [blocks × blockSize] the bits above, `highBits` each, the first one's in the lowest bits of a byte.
  private var highs: [UInt8]
  private(set) var highBits: Int

  /// - Parameter vocabularySize: tokens are below it, as far as is known.
  init(blockCount: Int, blockSize: Int, vocabularySize: Int) {
    self.blockSize = blockSize
    highBits = Self.highBits(for: UInt32(clamping: max(vocabularySize - 1, 0)))
    lows = [UInt16](repeating: 0, count: blockCount * blockSize)
    highs = [UInt8](repeating: 0, count: Self.highBytes(blockCount * blockSize, highBits))
  }

  private static func highBits(for token: UInt32) -> Int {
    switch token >> 16 {
    case 0: 0
    case ..<4: 2
    case ..<16: 4
    case ..<256: 8
    default: 16
    }
  }

  private static func highBytes(_ tokens: Int, _ bits: Int) -> Int { (tokens * bits + 7) / 8 }

  var byteCount: Int { 2 * lows.count + highs.count }

  /// The token at an offset of a block.
  func token(_ block: Int, _ offset: Int) -> TokenID {
    let place = block * blockSize + offset
    let low = UInt32(lows[place])
    return TokenID(rawValue: Int32(bitPattern: highBits == 0 ? low : low | high(place) << 16))
  }

  private func high(_ place: Int) -> UInt32 {
    if highBits == 16 { return UInt32(highs[2 * place]) | UInt32(highs[2 * place + 1]) << 8 }
    let bit = place * highBits
    return UInt32(highs[bit >> 3]) >> UInt32(bit & 7) & (1 << UInt32(highBits) - 1)
  }

  /// Replaces the first tokens of a block.
  mutating func set(_ block: Int, _ content: Span<TokenID>) {
    var largest: UInt32 = 0
    for offset in content.indices { largest |= UInt32(bitPattern: content[offset].rawValue) }
    if Self.highBits(for: largest) > highBits { widen(to: Self.highBits(for: largest)) }
    for offset in content.indices {
      let value = UInt32(bitPattern: content[offset].rawValue)
      let place = block * blockSize + offset
      lows[place] = UInt16(truncatingIfNeeded: value)
      if highBits > 0 { setHigh(place, value >> 16) }
    }
  }

  /// Replaces the last token of a block by a small number.
  mutating func setLast(_ block: Int, to value: TokenID) {
    let place = (block + 1) * blockSize - 1
    lows[place] = UInt16(truncatingIfNeeded: value.rawValue)
    if highBits > 0 { setHigh(place, 0) }
  }

  private mutating func setHigh(_ place: Int, _ value: UInt32) {
    if highBits == 16 {
      highs[2 * place] = UInt8(truncatingIfNeeded: value)
      highs[2 * place + 1] = UInt8(truncatingIfNeeded: value >> 8)
      return
    }
    let bit = place * highBits
    let shift = UInt8(bit & 7)
    let mask = UInt8(truncatingIfNeeded: 1 << highBits - 1) << shift
    highs[bit >> 3] = highs[bit >> 3] & ~mask | UInt8(truncatingIfNeeded: value) << shift & mask
  }

  private mutating func widen(to bits: Int) {
    var wider = self
    wider.highBits = bits
    wider.highs = [UInt8](repeating: 0, count: Self.highBytes(lows.count, bits))
    if highBits > 0 { for place in lows.indices { wider.setHigh(place, high(place)) } }
    self = wider
  }

  /// How many tokens a block and `wanted` begin alike, of the first `limit`.
  func shared(_ block: Int, _ wanted: Span<TokenID>, limit: Int) -> Int {
    let first = block * blockSize
    var count = 0
    while count < limit, lows[first + count] == UInt16(truncatingIfNeeded: wanted[count].rawValue),
      highBits == 0
        ? UInt32(bitPattern: wanted[count].rawValue) >> 16 == 0
        : high(first + count) == UInt32(bitPattern: wanted[count].rawValue) >> 16
    { count += 1 }
    return count
  }
}
