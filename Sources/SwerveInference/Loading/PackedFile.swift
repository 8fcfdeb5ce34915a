package import SwerveCore
package import SwerveHardware

/// A packed weight file, mapped and not read: its matrices are used where they lie, so that a start costs the check of
/// its index.
///
/// What the file says is checked against the file's size here, and against the model by whoever asks for a matrix; the
/// numbers themselves only by `damage`. Errors name the file.
package struct PackedFile: Sendable {
  package let index: PackedIndex
  /// The file's name in error sentences.
  package let path: String
  private let file: FileBytes
  private let places: [String: Int]

  /// Opens the packed weight file of a model; nil where there is none.
  package init?(_ files: ModelFiles) throws(ModelFileError) {
    path = files.path(PackedIndex.fileName)
    do {
      guard let file = try files.file(PackedIndex.fileName) else { return nil }
      self.file = file
    } catch {
      throw ModelFileError(file: path, reason: error.reason)
    }
    index = try Self.index(of: file, path: path)
    places = Dictionary(index.matrices.enumerated().map { ($1.name, $0) }) { first, _ in first }
  }

  private static func index(of file: FileBytes, path: String) throws(ModelFileError) -> PackedIndex {
    func fail(_ reason: String) -> ModelFileError { ModelFileError(file: path, reason: reason) }
    let again = "write it again with swerve quantize"
    return try file.withBytes { (bytes) throws(ModelFileError) -> PackedIndex in
      guard bytes.count >= PackedIndex.headerBytes else {
        throw fail(
          "a packed weight file has at least \(PackedIndex.headerBytes) bytes and this one has \(bytes.count); \(again)"
        )
      }
      guard bytes.prefix(8).elementsEqual(PackedIndex.magic) else {
        throw fail("it does not begin with SWERVEPK, so it is no packed weight file or it is damaged; \(again)")
      }
      let version = UInt32(littleEndian: bytes.load(fromByteOffset: 8, as: UInt32.self))
      guard version == PackedIndex.version else {
        throw fail("it is of version \(version) and this build reads version \(PackedIndex.version); \(again)")
      }
      let words = (0..<4).map { UInt64(littleEndian: bytes.load(fromByteOffset: 16 + $0 * 8, as: UInt64.self)) }
      guard words[3] == UInt64(bytes.count) else {
        throw fail("it should have \(words[3]) bytes and has \(bytes.count): it was cut or is damaged; \(again)")
      }
      guard words[1] <= UInt64(PackedIndex.maximumIndexBytes), words[0] <= UInt64(bytes.count),
        words[1] <= UInt64(bytes.count) - words[0]
      else { throw fail("its index lies outside the file: the file is damaged; \(again)") }
      let text = UnsafeRawBufferPointer(rebasing: bytes[Int(words[0])..<Int(words[0] + words[1])])
      guard Checksum.of(text) == words[2] else {
        throw fail("its index does not agree with its checksum: the file is damaged; \(again)")
      }
      let json: JSON
      do { json = try JSON(parsing: text) } catch { throw fail("its index is \(error); \(again)") }
      guard let index = PackedIndex(json) else {
        throw fail("its index lacks a member or has one that this build does not know; \(again)")
      }
      for (name, region) in index.regions {
        guard region.offset % PackedIndex.alignment == 0, region.offset <= bytes.count - 64,
          region.byteCount <= bytes.count - 64 - region.offset
        else { throw fail("\(name) lies outside the file or at an odd place: the file is damaged; \(again)") }
      }
      return index
    }
  }

  private func fail(_ reason: String) -> ModelFileError { ModelFileError(file: path, reason: reason) }

  /// Bytes of all matrices, biases and norms.
  package var weightBytes: Int {
    index.norms.byteCount
      + index.matrices.reduce(0) { $0 + $1.numbers.byteCount + ($1.bias?.byteCount ?? 0) }
  }

  /// Bytes of embedding tables.
  package var tableBytes: Int { index.tables.reduce(0) { $0 + $1.numbers.byteCount } }

  /// Lets the kernel read ahead.
  package func willBeRead() { file.willBeRead() }

  /// Only some rows of it will be read in place.
  package func willBeReadHereAndThere() { file.willBeReadHereAndThere() }

  // MARK: Parts

  /// The matrix `name`, in place.
  ///
  /// - Parameter expected: what the model needs, in the format that `index.quantization` means for it.
  /// - Throws: a sentence where the file has another shape or a format that does not go with `type`.
  package func matrix(_ name: String, expected: PackedShape, type: ElementType) throws(ModelFileError) -> PackedWeight {
    guard let found = places[name].map({ index.matrices[$0] }) else {
      throw fail("matrix \(quoted(name)) is missing; write the file again from the weights of this config.json")
    }
    if case .plain(let stored) = found.shape.format, case .plain = expected.format, stored != type {
      throw fail(
        "its weights are \(stored.rawValue) and cannot run in \(type.rawValue); leave out --dtype, or write the file again "
          + "with --dtype \(type.rawValue)")
    }
    let shape = expected
    guard shape == found.shape else {
      throw fail(
        "matrix \(quoted(name)) is \(Self.text(found.shape)) and config.json asks for \(Self.text(shape)); write the file "
          + "again from the weights of this config.json")
    }
    do {
      let packed = try PackedWeight(
        mapping: shape, type: type, file: file, numbers: found.numbers.offset, bias: found.bias?.offset)
      guard found.numbers.byteCount == shape.byteCount,
        found.bias?.byteCount ?? 0 == (shape.hasBias ? shape.biasByteCount : 0)
      else { throw fail("matrix \(quoted(name)) has \(found.numbers.byteCount) bytes and needs \(shape.byteCount)") }
      return packed
    } catch let error as HardwareError {
      throw fail("matrix \(quoted(name)): \(error)")
    } catch let error as ModelFileError {
      throw error
    } catch {
      throw fail("matrix \(quoted(name)): \(error)")
    }
  }

  private static func text(_ shape: PackedShape) -> String {
    "\(shape.outputs) x \(shape.inputs) in \(shape.format.name)"
      + (shape.layout == .interleaved16 ? " interleaved" : "")
      + (shape.segments == 1 ? "" : ", \(shape.segments) segments") + (shape.hasBias ? " with bias" : "")
  }

  /// The embedding table `name` and the file that must stay mapped while it is used; nil where the file has none.
  package func table(_ name: String, rows: Int, columns: Int) throws(ModelFileError) -> (Tensor, FileBytes)? {
    guard let found = index.tables.first(where: { $0.name == name }), let base = file.unownedBytes.baseAddress else {
      return nil
    }
    guard found.rows == rows, found.columns == columns,
      found.numbers.byteCount == rows * columns * found.type.byteCount
    else {
      throw fail(
        "table \(quoted(name)) is \(found.rows) x \(found.columns) and config.json asks for \(rows) x \(columns); write "
          + "the file again from the weights of this config.json")
    }
    let pointer = UnsafeMutableRawPointer(mutating: base + found.numbers.offset)
    return (Tensor(pointer: pointer, type: found.type, rows: rows, columns: columns), file)
  }

  /// Copies the norms, `count` of them, to `out`.
  package func readNorms(into out: UnsafeMutablePointer<Float>, count: Int) throws(ModelFileError) {
    guard index.norms.byteCount == count * 4, let base = file.unownedBytes.baseAddress else {
      throw fail(
        "it has \(index.norms.byteCount / 4) numbers of norms and config.json asks for \(count); write the file again from "
          + "the weights of this config.json")
    }
    UnsafeMutableRawPointer(out).copyMemory(from: base + index.norms.offset, byteCount: count * 4)
    withExtendedLifetime(file) {}
  }

  // MARK: Verification

  /// Reads everything and answers the first part that does not agree with its checksum, or nil. Bound by the disk or
  /// the memory.
  ///
  /// - Parameter progress: told the share that was read, 0…1.
  package func damage(_ device: CPUDevice, progress: (Double) -> Void = { _ in }) -> String? {
    let regions = index.regions
    let total = max(1, regions.reduce(0) { $0 + $1.region.byteCount })
    var done = 0
    return file.withBytes { bytes in
      for (name, region) in regions {
        let part = UnsafeRawBufferPointer(rebasing: bytes[region.offset..<region.offset + region.byteCount])
        if device.checksum(part) != region.checksum { return name }
        done += region.byteCount
        progress(Double(done) / Double(total))
      }
      return nil
    }
  }
}
