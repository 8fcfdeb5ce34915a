/// Walks the fields of a protobuf message (https://protobuf.dev/programming-guides/encoding).
struct ProtobufReader {
  enum Value {
    case number(UInt64)
    case bits32(UInt32)
    case bits64
    case bytes(Range<Int>)
  }

  let bytes: Bytes
  private var position: Int
  private let end: Int

  init(_ bytes: Bytes, _ range: Range<Int>) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  /// The next field, or nil at the end of the message.
  mutating func next() throws(ComponentError) -> (field: Int, value: Value)? {
    if position == end { return nil }
    let tag = try number()
    let field = Int(truncatingIfNeeded: tag >> 3)
    switch tag & 7 {
    case 0: return (field, .number(try number()))
    case 1:
      try skip(8)
      return (field, .bits64)
    case 2:
      let length = try number()
      guard length <= UInt64(end - position) else { throw Self.cut(position) }
      let start = position
      position += Int(length)
      return (field, .bytes(start..<position))
    case 5:
      let start = position
      try skip(4)
      var bits: UInt32 = 0
      for place in 0..<4 { bits |= UInt32(bytes[start + place]) << UInt32(8 * place) }
      return (field, .bits32(bits))
    default: throw ComponentError(path: "byte \(position)", reason: "not a field of a SentencePiece model")
    }
  }

  private static func cut(_ position: Int) -> ComponentError {
    ComponentError(path: "byte \(position)", reason: "a field is longer than the file")
  }

  private mutating func skip(_ count: Int) throws(ComponentError) {
    guard count <= end - position else { throw Self.cut(position) }
    position += count
  }

  private mutating func number() throws(ComponentError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < end, shift < 64 {
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    throw ComponentError(path: "byte \(position)", reason: "a number that does not end")
  }
}
