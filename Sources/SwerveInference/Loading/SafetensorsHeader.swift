package import SwerveCore

/// The header of one safetensors file: which tensors lie where in its data.
///
/// The format: a little-endian 64-bit header length N, N bytes of JSON (`{"name": {"dtype", "shape", "data_offsets"}}`,
/// with an optional `__metadata__` map of strings, padded with spaces), then the tensors' bytes. The format demands that
/// the tensors cover the data without overlap or gap; a file that breaks this was cut or tampered with, so it is refused.
package struct SafetensorsHeader: Sendable {
  /// One tensor of the file.
  package struct Entry: Sendable, Hashable {
    package var name: String
    package var type: TensorType
    /// Row-major; empty for a scalar.
    package var shape: [Int]
    /// Byte range in the file (not in the data part).
    package var range: Range<Int>
  }

  /// In the order of their bytes.
  package private(set) var entries: [Entry] = []
  package private(set) var metadata: [String: String] = [:]

  /// The format's own limit on the length of a header.
  package static let maximumHeaderBytes = 100_000_000

  /// Parses and checks the header of a file given whole. `file` is its name in error sentences.
  /// Cost: one pass over the header and a sort of its entries; tensor bytes are not touched.
  package init(_ bytes: UnsafeRawBufferPointer, file: String) throws(ModelFileError) {
    func fail(_ reason: String) -> ModelFileError { ModelFileError(file: file, reason: reason) }
    guard bytes.count >= 8 else {
      throw fail("a safetensors file has at least 8 bytes, this one has \(bytes.count); download it again")
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(Self.maximumHeaderBytes) else {
      throw fail(
        "the header claims \(length) bytes and the format allows at most \(Self.maximumHeaderBytes); "
          + "this is not a safetensors file, or it is damaged")
    }
    let headerBytes = Int(length)
    guard headerBytes <= bytes.count - 8 else {
      throw fail("the header claims \(headerBytes) bytes and the file has \(bytes.count); download it again")
    }
    let text = UnsafeRawBufferPointer(rebasing: bytes[8..<8 + headerBytes])
    guard text.first == UInt8(ascii: "{") else {
      throw fail("the header does not begin with '{': this is not a safetensors file, or it is damaged")
    }
    do {
      try parse(text, dataStart: 8 + headerBytes, file: file)
    } catch let error as ModelFileError {
      throw error
    } catch {
      throw fail("the header is \(error)")
    }
    try checkCoverage(dataStart: 8 + headerBytes, fileBytes: bytes.count, file: file)
  }

  private mutating func parse(_ text: UnsafeRawBufferPointer, dataStart: Int, file: String) throws {
    var parser = JSONParser(bytes: text, maximumDepth: 8)
    var seen = Set<String>()
    var isFirst = true
    try parser.beginObject()
    while let name = try parser.nextKey(isFirst: &isFirst) {
      guard seen.insert(name).inserted else {
        throw ModelFileError(file: file, reason: "tensor \(quoted(name)) is listed twice in the header")
      }
      let value = try parser.parseValue()
      if name == "__metadata__" {
        try readMetadata(value, file: file)
      } else {
        entries.append(try Self.entry(name, value, dataStart: dataStart, file: file))
      }
    }
    try parser.expectEnd()
  }

  private mutating func readMetadata(_ value: JSON, file: String) throws(ModelFileError) {
    guard let object = value.object else {
      throw ModelFileError(file: file, reason: "__metadata__ must be an object, not \(value.kind)")
    }
    for (key, value) in object {
      guard let text = value.string else {
        throw ModelFileError(
          file: file, reason: "__metadata__ member \(quoted(key)) must be a string, not \(value.kind)")
      }
      metadata[key] = text
    }
  }

  private static func entry(
    _ name: String, _ value: JSON, dataStart: Int, file: String
  ) throws(ModelFileError) -> Entry {
    func fail(_ reason: String) -> ModelFileError {
      ModelFileError(file: file, reason: "tensor \(quoted(name)): \(reason)")
    }
    guard let object = value.object else { throw fail("expected an object, found \(value.kind)") }
    for key in object.keys where !["dtype", "shape", "data_offsets"].contains(key) {
      throw fail("unknown member \(quoted(key)); the format has dtype, shape and data_offsets")
    }
    guard let typeName = object["dtype"]?.string else { throw fail("has no dtype") }
    guard let type = TensorType(rawValue: typeName) else {
      throw fail(
        "unknown dtype \(quoted(typeName)); known are " + TensorType.allCases.map(\.rawValue).joined(separator: ", "))
    }
    guard case .array(let shapeValues)? = object["shape"] else { throw fail("has no shape") }
    var shape: [Int] = []
    var bits = type.bitCount
    for value in shapeValues {
      guard case .int(let dimension) = value, dimension >= 0 else {
        throw fail("shape \(JSON.array(shapeValues).text) must be a list of non-negative integers")
      }
      let product = bits.multipliedReportingOverflow(by: dimension)
      guard !product.overflow else { throw fail("shape \(JSON.array(shapeValues).text) has more elements than memory") }
      bits = product.partialValue
      shape.append(dimension)
    }
    guard bits % 8 == 0 else { throw fail("its elements do not fill whole bytes") }
    guard case .array(let offsets)? = object["data_offsets"], offsets.count == 2,
      case .int(let begin) = offsets[0], case .int(let end) = offsets[1], begin >= 0, end >= begin
    else { throw fail("data_offsets must be two integers, begin ≤ end") }
    guard end - begin == bits / 8 else {
      throw fail(
        "data_offsets span \(end - begin) bytes and \(typeName) of shape \(shape) needs \(bits / 8)")
    }
    let last = end.addingReportingOverflow(dataStart)
    guard !last.overflow else { throw fail("data_offsets end beyond any file") }
    return Entry(name: name, type: type, shape: shape, range: begin + dataStart..<last.partialValue)
  }

  /// Sorts by position and refuses overlaps, gaps, truncated and trailing data.
  private mutating func checkCoverage(dataStart: Int, fileBytes: Int, file: String) throws(ModelFileError) {
    entries.sort {
      ($0.range.lowerBound, $0.range.upperBound, $0.name) < ($1.range.lowerBound, $1.range.upperBound, $1.name)
    }
    var end = dataStart
    var previous = ""
    for entry in entries {
      let name = quoted(entry.name)
      if entry.range.upperBound > fileBytes {
        throw ModelFileError(
          file: file,
          reason: "tensor \(name) ends at byte \(entry.range.upperBound) and the file has \(fileBytes): "
            + "it was cut; download it again")
      }
      if entry.range.lowerBound < end {
        throw ModelFileError(file: file, reason: "tensors \(previous) and \(name) overlap: the header is damaged")
      }
      if entry.range.lowerBound > end {
        throw ModelFileError(
          file: file,
          reason: "\(entry.range.lowerBound - end) bytes before tensor \(name) belong to no tensor: "
            + "the header is damaged")
      }
      end = entry.range.upperBound
      previous = name
    }
    if end != fileBytes {
      throw ModelFileError(
        file: file, reason: "\(fileBytes - end) bytes after the last tensor belong to none: the file is damaged")
    }
  }
}

/// Element types that a safetensors header may name. Only three of them can be weights here (`elementType`); the others
/// are known so that a file which also holds, say, an integer buffer can be read.
package enum TensorType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case uint8 = "U8"
  case int8 = "I8"
  case float8e4m3 = "F8_E4M3"
  case float8e5m2 = "F8_E5M2"
  case float8e8m0 = "F8_E8M0"
  case float4 = "F4"
  case float6e2m3 = "F6_E2M3"
  case float6e3m2 = "F6_E3M2"
  case int16 = "I16"
  case uint16 = "U16"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int32 = "I32"
  case uint32 = "U32"
  case float32 = "F32"
  case complex64 = "C64"
  case int64 = "I64"
  case uint64 = "U64"
  case float64 = "F64"

  package var bitCount: Int {
    switch self {
    case .float4: 4
    case .float6e2m3, .float6e3m2: 6
    case .bool, .uint8, .int8, .float8e4m3, .float8e5m2, .float8e8m0: 8
    case .int16, .uint16, .float16, .bfloat16: 16
    case .int32, .uint32, .float32: 32
    case .complex64, .int64, .uint64, .float64: 64
    }
  }

  /// The type as weights are computed with, nil where such a tensor cannot be a weight.
  package var elementType: ElementType? {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    default: nil
    }
  }
}

/// A name as error sentences show it: quoted, and cut when it is absurdly long.
func quoted(_ name: String) -> String {
  let shown = name.count > 120 ? name.prefix(120) + "…" : name[...]
  return JSON.string(String(shown)).text
}
