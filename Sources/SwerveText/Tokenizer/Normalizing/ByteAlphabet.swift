/// GPT-2's printable alphabet for bytes: bytes that print stand for themselves, the others for characters from U+0100 on.
enum ByteAlphabet {
  /// The character of each byte.
  static let scalars: [UInt32] = {
    var next: UInt32 = 0x100
    return (UInt32(0)..<256).map { byte in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE { return byte }
      defer { next += 1 }
      return next
    }
  }()

  /// The byte of each character below U+0144, or -1.
  static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
    return table
  }()

  static func encode(_ text: Bytes) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 4)
    let scalars = scalars
    for byte in text { out.append(scalar: scalars[Int(byte)]) }
    return out
  }

  /// Appends the bytes that `text` stands for; false (and nothing appended) where a character is not in the alphabet.
  static func decode(_ text: Bytes, into out: inout [UInt8]) -> Bool {
    let start = out.count
    let bytes = bytes
    var place = 0
    while place < text.count {
      let scalar = text.scalar(at: place)
      guard scalar.value < 0x144, bytes[Int(scalar.value)] >= 0 else {
        out.removeSubrange(start...)
        return false
      }
      out.append(UInt8(bytes[Int(scalar.value)]))
      place += scalar.length
    }
    return true
  }
}
