package import SwerveCore
package import SwerveHardware

/// Writes a packed weight file while the weights are loaded. What was written is mapped from the file in place of its
/// memory, so that a model of any size is packed with the memory of one matrix.
///
/// The file has another name until `finish`; without it nothing is left behind.
package final class PackedFileWriter {
  private let output: OutputFile
  private let device: CPUDevice
  private var index: PackedIndex

  /// - Parameters:
  ///   - folder: must exist.
  ///   - bytes: about how large the file will be; refused where the disk has less.
  package init(
    folder: String, type: ElementType, architecture: String, quantization: WeightFormat? = nil, source: UInt64?,
    bytes: Int, device: CPUDevice
  ) throws(ModelFileError) {
    output = try OutputFile(folder: folder, name: PackedIndex.fileName, bytes: bytes)
    self.device = device
    index = PackedIndex(
      type: type, architecture: architecture, quantization: quantization, source: source,
      norms: PackedIndex.Region(offset: 0, byteCount: 0, checksum: 0), matrices: [], tables: [])
    try output.write([UInt8](repeating: 0, count: PackedIndex.alignment))
  }

  /// Writes a matrix and answers the same one in the file.
  func keep(_ name: String, _ packed: PackedWeight) throws -> PackedWeight {
    let (numbers, bias) = try packed.withBytes { numbers, bias in (try write(numbers), try bias.map { try write($0) }) }
    index.matrices.append(PackedIndex.Matrix(name: name, shape: packed.shape, numbers: numbers, bias: bias))
    // Kernels may read 64 bytes behind a matrix.
    try output.fill(to: PackedIndex.alignment, atLeast: 64)
    let file = try output.mapped()
    return try PackedWeight(
      mapping: packed.shape, type: packed.type, file: file, numbers: numbers.offset, bias: bias?.offset)
  }

  /// Writes an embedding table.
  func keep(_ name: String, table: Tensor) throws {
    let bytes = UnsafeRawBufferPointer(start: table.pointer, count: table.rows * table.rowBytes)
    index.tables.append(
      PackedIndex.Table(
        name: name, type: table.type, rows: table.rows, columns: table.columns, numbers: try write(bytes)))
  }

  /// Writes the norms.
  func keep(norms: UnsafeRawBufferPointer) throws { index.norms = try write(norms) }

  private func write(_ bytes: UnsafeRawBufferPointer) throws(ModelFileError) -> PackedIndex.Region {
    try output.fill(to: PackedIndex.alignment)
    let region = PackedIndex.Region(
      offset: output.count, byteCount: bytes.count, checksum: device.checksum(bytes))
    try output.write(bytes)
    return region
  }

  /// Writes index and header, and gives the file its name, in place of an older one. Answers what was written.
  package func finish() throws(ModelFileError) -> PackedIndex {
    try output.fill(to: PackedIndex.alignment, atLeast: 64)
    let text = index.json.bytes
    let offset = output.count
    try output.write(text)
    try output.fill(to: PackedIndex.alignment)
    let checksum = text.withUnsafeBytes { Checksum.of($0) }
    var header = PackedIndex.magic
    func append<Number: FixedWidthInteger>(_ number: Number) {
      withUnsafeBytes(of: number.littleEndian) { header += $0 }
    }
    append(PackedIndex.version)
    append(0 as UInt32)
    for number in [UInt64(offset), UInt64(text.count), checksum, UInt64(output.count)] { append(number) }
    try output.overwrite(header)
    try output.commit()
    return index
  }
}
