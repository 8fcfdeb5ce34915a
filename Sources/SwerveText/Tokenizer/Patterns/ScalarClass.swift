/// The class of a character for split scanners, with the bytes it took.
struct ScalarClass {
  static let letter: UInt8 = 1
  static let number: UInt8 = 2
  static let space: UInt8 = 4
  static let lineBreak: UInt8 = 8
  /// Upper and title case, caseless and modifier letters, marks.
  static let upper: UInt8 = 16
  /// Lower case, caseless and modifier letters, marks.
  static let lower: UInt8 = 32
  static let mark: UInt8 = 64

  let bits: UInt8
  let length: Int

  @inline(__always)
  var isSpace: Bool { bits & Self.space != 0 }

  /// The class of the scalar at `place` (`place < text.count`).
  @inline(__always)
  static func at(_ text: Bytes, _ place: Int) -> ScalarClass {
    let byte = text[place]
    if byte < 0x80 { return ScalarClass(bits: ascii(byte), length: 1) }
    let scalar = text.multibyteScalar(at: place, first: byte)
    return ScalarClass(bits: bits(of: CharacterProperties(scalar.value)), length: scalar.length)
  }

  /// A table look-up without a table in memory would cost branches; this one is the binary's read-only data.
  @inline(__always)
  private static func ascii(_ byte: UInt8) -> UInt8 { asciiTable.utf8Start[Int(byte)] &- 0x30 }

  // One character a byte value, its bits plus "0": ' ' 4, line breaks 12, digits 2, upper 17, lower 33, others 0.
  private static let asciiTable: StaticString =
    """
    0000000004<44<00000000000000000040000000000000002222222222000000\
    0AAAAAAAAAAAAAAAAAAAAAAAAAA000000QQQQQQQQQQQQQQQQQQQQQQQQQQ00000
    """

  private static func bits(of properties: CharacterProperties) -> UInt8 {
    var bits: UInt8 = properties.has(.space) ? space : 0
    switch properties.category.rawValue {
    case 1, 3: bits |= letter | upper
    case 2: bits |= letter | lower
    case 4, 5: bits |= letter | upper | lower
    case 6, 7, 8: bits |= mark | upper | lower
    case 9, 10, 11: bits |= number
    default: break
    }
    return bits
  }
}
