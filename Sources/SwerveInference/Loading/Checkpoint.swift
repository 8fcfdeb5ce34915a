// From files to weights: safetensors, the sharded index, config.json, generation_config.json, packing for the kernels.
// This room checks everything a file says before it believes it; it must not know how a forward pass uses a tensor.
// Start with Checkpoint (names to bytes) and ModelConfiguration (config.json to numbers).

package import SwerveCore
import SwerveHardware

/// The tensors of a model by name, in one safetensors file or several, mapped and not read.
///
/// Errors name the file and the tensor. Opening costs one pass over each header.
package struct Checkpoint: Sendable {
  /// One tensor in a mapped file. The bytes stay valid as long as this value or the checkpoint lives.
  package struct Tensor: Sendable {
    package var name: String
    package var type: TensorType
    package var shape: [Int]
    /// The file's name in error sentences.
    package var path: String
    package let file: FileBytes
    /// Byte range in the file.
    package var range: Range<Int>

    /// Valid while the checkpoint (or whoever else holds `file`) lives.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: file.unownedBytes[range]) }

    /// Tells the kernel that the bytes are not needed any more, once they were packed.
    package func dropPages() { file.dropPages(in: range) }

    /// The same for a part of the bytes; does nothing where the part is another tensor's.
    package func dropPages(of part: UnsafeRawBufferPointer) {
      guard let base = bytes.baseAddress, let start = part.baseAddress, start >= base, start < base + range.count else {
        return
      }
      let first = range.lowerBound + (start - base)
      file.dropPages(in: first..<min(range.upperBound, first + part.count))
    }
  }

  package static let singleName = "model.safetensors"
  package static let indexName = "model.safetensors.index.json"

  private var tensors: [String: Tensor] = [:]
  /// Sum of all tensors' bytes.
  package private(set) var byteCount = 0

  package var names: [String] { tensors.keys.sorted() }

  package subscript(name: String) -> Tensor? { tensors[name] }

  /// Opens `model.safetensors`, or every file that `model.safetensors.index.json` names. Where both exist the index
  /// wins, as it does for the library that writes them.
  package init(_ files: ModelFiles) throws(ModelFileError) {
    if let index = try files.json(Self.indexName) {
      try open(index: index, in: files)
    } else if files.contains(Self.singleName) {
      for tensor in try Self.open(Self.singleName, in: files) {
        byteCount += tensor.range.count
        tensors[tensor.name] = tensor
      }
    } else {
      throw Self.noWeights(in: files)
    }
  }

  private mutating func open(index: JSON, in files: ModelFiles) throws(ModelFileError) {
    let indexPath = files.path(Self.indexName)
    guard let map = index["weight_map"]?.object else {
      throw ModelFileError(file: indexPath, reason: "has no weight_map object from tensor names to file names")
    }
    var fileOf: [String: String] = [:]
    var names = Set<String>()
    for (tensor, value) in map {
      guard let name = value.string else {
        throw ModelFileError(
          file: indexPath, reason: "weight_map names no file for \(quoted(tensor)) but \(value.kind)")
      }
      // A name from a downloaded file must not lead out of the folder.
      guard !name.isEmpty, !name.contains("/"), !name.contains("\0"), name != ".", name != ".." else {
        throw ModelFileError(
          file: indexPath, reason: "weight_map gives \(quoted(name)) for \(quoted(tensor)), which is not a file name")
      }
      fileOf[tensor] = name
      names.insert(name)
    }
    guard !names.isEmpty else { throw ModelFileError(file: indexPath, reason: "weight_map is empty") }
    for name in names.sorted() {
      for tensor in try Self.open(name, in: files) where fileOf[tensor.name] == name {
        byteCount += tensor.range.count
        tensors[tensor.name] = tensor
      }
    }
    for (tensor, name) in fileOf.sorted(by: { $0.key < $1.key }) where tensors[tensor] == nil {
      throw ModelFileError(
        file: files.path(name),
        reason: "tensor \(quoted(tensor)) is missing although \(Self.indexName) places it here; download both again")
    }
  }

  /// Whether `init` would find weights to open.
  package static func isPresent(in files: ModelFiles) -> Bool {
    files.contains(singleName) || files.contains(indexName)
  }

  /// Tells these weights from others of the same shapes: names, types and shapes of all tensors and a kilobyte of each.
  /// Cost: one page a tensor.
  package var fingerprint: UInt64 {
    var sums: [UInt64] = []
    for name in names {
      guard let tensor = tensors[name] else { continue }
      let text = Array("\(name) \(tensor.type.rawValue) \(tensor.shape)".utf8)
      sums.append(text.withUnsafeBytes { Checksum.of($0) })
      let middle = tensor.range.count / 2
      let sample = tensor.bytes[middle..<min(tensor.range.count, middle + 1024)]
      sums.append(Checksum.of(UnsafeRawBufferPointer(rebasing: sample)))
    }
    return sums.withUnsafeBytes { Checksum.of($0) }
  }

  private static func open(_ name: String, in files: ModelFiles) throws(ModelFileError) -> [Tensor] {
    let path = files.path(name)
    let bytes: FileBytes
    do {
      guard let found = try files.file(name) else {
        throw ModelFileError(file: path, reason: "is missing although \(indexName) names it; download the model again")
      }
      bytes = found
    } catch let error as FileError {
      throw ModelFileError(file: error.path, reason: error.reason)
    } catch let error as ModelFileError {
      throw error
    } catch {
      throw ModelFileError(file: path, reason: "\(error)")
    }
    let header = try bytes.withBytes { (raw) throws(ModelFileError) in try SafetensorsHeader(raw, file: path) }
    return header.entries.map {
      Tensor(name: $0.name, type: $0.type, shape: $0.shape, path: path, file: bytes, range: $0.range)
    }
  }

  private static func noWeights(in files: ModelFiles) -> ModelFileError {
    let others = files.names.filter { name in
      [".bin", ".pt", ".pth", ".gguf", ".safetensors"].contains { name.hasSuffix($0) }
    }
    let found = others.isEmpty ? "" : "; it has \(others.prefix(3).joined(separator: ", "))"
    return ModelFileError(
      file: files.place,
      reason: "has neither \(singleName) nor \(indexName)\(found): give a folder with safetensors weights, "
        + "or load random ones with --load-format dummy")
  }
}
