package import SwerveCore
package import SwerveHardware

/// What a packed weight file says about itself: which matrices in which formats lie where.
///
/// The file (`model.swerve`, little-endian; decision record 0008):
/// - 64 bytes: `SWERVEPK`, u32 version, u32 0, then u64 each: offset of the index, its bytes, its checksum, the file's
///   bytes; zeros.
/// - The regions: norms, matrices as kernels read them, biases, an embedding table. Each begins at a multiple of 4,096.
/// - The index, this value as JSON, and zeros to the next multiple of 4,096.
package struct PackedIndex: Sendable, Hashable {
  /// Bytes of the file with their checksum.
  package struct Region: Sendable, Hashable {
    package var offset: Int
    package var byteCount: Int
    package var checksum: UInt64
  }

  package struct Matrix: Sendable, Hashable {
    /// The tensor it was packed from; the first one's name where there were several.
    package var name: String
    package var shape: PackedShape
    package var numbers: Region
    package var bias: Region?
  }

  /// Row-major [rows, columns]: an embedding table that is not the output head.
  package struct Table: Sendable, Hashable {
    package var name: String
    package var type: ElementType
    package var rows: Int
    package var columns: Int
    package var numbers: Region
  }

  /// Of the activations that the file was made for. Plain matrices are of this type.
  package var type: ElementType
  /// As in config.json.
  package var architecture: String
  /// What was asked for when it was packed, from which `WeightPolicy` gives each matrix its format; nil: plain numbers.
  package var quantization: WeightFormat?
  /// `Checkpoint.fingerprint` of what was packed; nil for random weights.
  package var source: UInt64?
  /// f32, in the order of the decoder pass.
  package var norms: Region
  package var matrices: [Matrix]
  package var tables: [Table]

  /// Name of a packed weight file in a model's folder.
  package static let fileName = "model.swerve"
  static let magic = Array("SWERVEPK".utf8)
  static let version: UInt32 = 1
  static let headerBytes = 64
  static let alignment = 4096
  static let maximumIndexBytes = 64 << 20

  /// Names of the formats in the file with the bytes in each, largest first.
  package var formats: [(name: String, byteCount: Int)] {
    var bytes: [String: Int] = [:]
    for matrix in matrices { bytes[matrix.shape.format.name, default: 0] += matrix.numbers.byteCount }
    return bytes.map { ($0.key, $0.value) }.sorted { ($1.byteCount, $0.name) < ($0.byteCount, $1.name) }
  }

  /// Every region with what it holds.
  package var regions: [(name: String, region: Region)] {
    [("the norms", norms)] + matrices.map { ("matrix \(quoted($0.name))", $0.numbers) }
      + matrices.compactMap { matrix in matrix.bias.map { ("the bias of \(quoted(matrix.name))", $0) } }
      + tables.map { ("table \(quoted($0.name))", $0.numbers) }
  }
}

// MARK: JSON

extension PackedIndex {
  var json: JSON {
    var object: JSONObject = [
      "type": .string(type.rawValue), "architecture": .string(architecture), "norms": norms.json,
      "matrices": .array(matrices.map(\.json)), "tables": .array(tables.map(\.json)),
    ]
    if let quantization { object["quantization"] = .string(quantization.name) }
    if let source { object["source"] = .string(hexadecimal(source)) }
    return .object(object)
  }

  /// nil where a member is missing or is not what it should be.
  init?(_ json: JSON) {
    guard let type = json["type"]?.string.flatMap({ ElementType(rawValue: $0) }),
      let architecture = json["architecture"]?.string, let norms = Region(json["norms"]),
      let matrices = json["matrices"]?.array?.map({ Matrix($0) }), !matrices.contains(nil),
      let tables = json["tables"]?.array?.map({ Table($0) }), !tables.contains(nil)
    else { return nil }
    self.type = type
    self.architecture = architecture
    self.norms = norms
    self.matrices = matrices.compactMap { $0 }
    self.tables = tables.compactMap { $0 }
    if let text = json["quantization"] {
      guard let quantization = text.string.flatMap({ WeightFormat(name: $0) }) else { return nil }
      self.quantization = quantization
    }
    if let text = json["source"] {
      guard let source = text.string.flatMap({ UInt64($0, radix: 16) }) else { return nil }
      self.source = source
    }
  }
}

extension PackedIndex.Region {
  fileprivate var json: JSON {
    ["offset": .int(offset), "bytes": .int(byteCount), "checksum": .string(hexadecimal(checksum))]
  }

  fileprivate init?(_ json: JSON?) {
    guard let offset = json?["offset"]?.int, offset >= 0, let byteCount = json?["bytes"]?.int, byteCount >= 0,
      let checksum = json?["checksum"]?.string.flatMap({ UInt64($0, radix: 16) })
    else { return nil }
    self.init(offset: offset, byteCount: byteCount, checksum: checksum)
  }
}

extension PackedIndex.Matrix {
  fileprivate var json: JSON {
    var object: JSONObject = [
      "name": .string(name), "format": .string(shape.format.name), "layout": .string(shape.layout.name),
      "outputs": .int(shape.outputs), "inputs": .int(shape.inputs), "segments": .int(shape.segments),
      "numbers": numbers.json,
    ]
    if let bias { object["bias"] = bias.json }
    return .object(object)
  }

  fileprivate init?(_ json: JSON) {
    guard let name = json["name"]?.string, let format = json["format"]?.string.flatMap({ WeightFormat(name: $0) }),
      let layout = json["layout"]?.string.flatMap({ PackedLayout(name: $0) }), let outputs = json["outputs"]?.int,
      let inputs = json["inputs"]?.int, let segments = json["segments"]?.int,
      let numbers = PackedIndex.Region(json["numbers"])
    else { return nil }
    var bias: PackedIndex.Region?
    if let json = json["bias"] {
      guard let region = PackedIndex.Region(json) else { return nil }
      bias = region
    }
    let shape = PackedShape(
      format: format, layout: layout, outputs: outputs, inputs: inputs, segments: segments, hasBias: bias != nil)
    self.init(name: name, shape: shape, numbers: numbers, bias: bias)
  }
}

extension PackedIndex.Table {
  fileprivate var json: JSON {
    [
      "name": .string(name), "type": .string(type.rawValue), "rows": .int(rows), "columns": .int(columns),
      "numbers": numbers.json,
    ]
  }

  fileprivate init?(_ json: JSON) {
    guard let name = json["name"]?.string, let type = json["type"]?.string.flatMap({ ElementType(rawValue: $0) }),
      let rows = json["rows"]?.int, let columns = json["columns"]?.int,
      let numbers = PackedIndex.Region(json["numbers"])
    else { return nil }
    self.init(name: name, type: type, rows: rows, columns: columns, numbers: numbers)
  }
}

extension PackedLayout {
  /// The stable name in files.
  fileprivate var name: String {
    switch self {
    case .stacked: "stacked"
    case .interleaved16: "interleaved16"
    }
  }

  fileprivate init?(name: String) {
    guard let found = [Self.stacked, .interleaved16].first(where: { $0.name == name }) else { return nil }
    self = found
  }
}

private func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
