package import SwerveCore

/// What must be known of a packed matrix besides its bytes, to write it to a file and to use it there.
package struct PackedShape: Sendable, Hashable {
  package var format: WeightFormat
  package var layout: PackedLayout
  /// As `PackedWeight.outputs`, `inputs` and `segments`. ≥ 1
  package var outputs: Int
  package var inputs: Int
  package var segments: Int
  package var hasBias: Bool

  package init(
    format: WeightFormat, layout: PackedLayout, outputs: Int, inputs: Int, segments: Int, hasBias: Bool
  ) {
    self.format = format
    self.layout = layout
    self.outputs = outputs
    self.inputs = inputs
    self.segments = segments
    self.hasBias = hasBias
  }

  /// Bytes of the numbers, without bias.
  package var byteCount: Int {
    PackedWeight.byteCount(outputs: outputs, inputs: inputs, format: format, layout: layout)
  }

  /// Bytes of a bias: f32, one a packed output.
  package var biasByteCount: Int { (outputs + 15) / 16 * (layout == .interleaved16 ? 2 : 1) * 64 }
}

extension PackedWeight {
  package var shape: PackedShape {
    PackedShape(
      format: format, layout: layout, outputs: outputs, inputs: inputs, segments: segments, hasBias: hasBias)
  }

  /// A packed matrix where it lies in a mapped file, which stays mapped as long as this lives. Costs nothing; pages come
  /// in when kernels read them.
  ///
  /// - Parameters:
  ///   - numbers: offset of `shape.byteCount` bytes, a multiple of 64.
  ///   - bias: offset of `shape.biasByteCount` bytes, a multiple of 64; only where the shape has a bias.
  /// - Throws: `.shape` for a format that does not go with `type`, and for bytes that are not in the file or are not
  ///   followed by 64 others.
  package convenience init(
    mapping shape: PackedShape, type: ElementType, file: FileBytes, numbers: Int, bias: Int?
  ) throws(HardwareError) {
    try self.init(shape, type: type, numbers: numbers, bias: bias) { offset, count throws(HardwareError) in
      guard offset >= 0, offset % 64 == 0, offset <= file.count - 64, count <= file.count - 64 - offset else {
        throw .shape("\(count) bytes at \(offset) are not a part of a file of \(file.count) that kernels can read")
      }
      return DeviceBuffer(mapping: offset..<offset + count, of: file)
    }
  }

  /// A packed matrix where somebody else puts its bytes, into memory that lives as long as this: a slot of a ring. Its
  /// numbers mean something while they are there.
  ///
  /// - Parameters:
  ///   - numbers, bias: as for a file, from the first byte of `memory`.
  /// - Throws: as for a file.
  package convenience init(
    viewing shape: PackedShape, type: ElementType, memory: GatherMemory, numbers: Int, bias: Int?
  ) throws(HardwareError) {
    try self.init(shape, type: type, numbers: numbers, bias: bias) { offset, count throws(HardwareError) in
      guard offset >= 0, offset % 64 == 0, offset <= memory.byteCount, count <= memory.byteCount - offset else {
        throw .shape("\(count) bytes at \(offset) do not lie in memory of \(memory.byteCount)")
      }
      return DeviceBuffer(viewing: memory.pointer + offset, byteCount: count, of: memory)
    }
  }

  private convenience init(
    _ shape: PackedShape, type: ElementType, numbers: Int, bias: Int?,
    part: (_ offset: Int, _ count: Int) throws(HardwareError) -> DeviceBuffer
  ) throws(HardwareError) {
    try Self.check(shape.format, type: type, inputs: shape.inputs, segments: shape.segments)
    guard shape.hasBias == (bias != nil) else { throw .shape("a bias is given exactly where the shape has one") }
    let storage = WeightStorage(try part(numbers, shape.byteCount))
    var biasStorage: WeightStorage?
    if let bias { biasStorage = WeightStorage(try part(bias, shape.biasByteCount)) }
    self.init(
      type: type, format: shape.format, layout: shape.layout, outputs: shape.outputs, inputs: shape.inputs,
      segments: shape.segments, storage: storage, bias: biasStorage)
  }

  /// Calls `body` with the numbers and the bias as they lie in memory; they must not be used afterwards.
  package func withBytes<Value>(
    _ body: (_ numbers: UnsafeRawBufferPointer, _ bias: UnsafeRawBufferPointer?) throws -> Value
  ) rethrows -> Value {
    defer { withExtendedLifetime(self) {} }
    return try body(storage.bytes, bias?.bytes)
  }
}

extension WeightStorage {
  fileprivate var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: buffer.pointer, count: buffer.byteCount)
  }
}
