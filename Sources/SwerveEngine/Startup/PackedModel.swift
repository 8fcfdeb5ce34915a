package import SwerveCore
import SwerveHardware
import SwerveInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A model folder with a packed weight file, made from a model that an engine could load: what `swerve quantize` does.
package struct PackedModel: Sendable {
  /// What was written.
  package struct Result: Sendable {
    /// Names of the weights' formats with the bytes in each, largest first.
    package var formats: [(name: String, byteCount: Int)]
    package var warnings: [String]
  }

  private let configuration: EngineConfiguration
  private let files: ModelFiles
  private let runner: RunnerConfiguration
  /// About the size of the file.
  package let estimatedBytes: Int

  /// Decides what to write from the configuration files alone.
  ///
  /// - Throws: `.configuration` for settings that cannot be written down, `.model` for the model's files.
  package init(_ configuration: EngineConfiguration) throws(EngineStartError) {
    self.configuration = configuration
    files = configuration.modelFolder.map { ModelFiles(folder: $0) } ?? StoryModel.files
    if !configuration.configOverrides.isEmpty {
      throw .configuration(["swerve quantize does not take --hf-overrides: change config.json in a copy of the model."])
    }
    var loading = configuration
    // Packed again from the weights themselves, also where a packed file lies beside them.
    if loading.loadFormat != .dummy { loading.loadFormat = .safetensors }
    let problems = configuration.problems()
    if !problems.isEmpty { throw .configuration(problems) }
    try StartPlan.checkQuantization(configuration, files)
    let isPackedOnly = !Checkpoint.isPresent(in: files) && files.contains(PackedIndex.fileName)
    if isPackedOnly, loading.loadFormat == .safetensors {
      throw .model(
        "\(files.path(PackedIndex.fileName)) is packed already; give the folder with the weights that it was made from")
    }
    let model: ModelConfiguration
    do { model = try ModelConfiguration(files) } catch { throw .model("\(error)") }
    runner = try StartPlan.runner(loading, files: files, model: model)
    do {
      let plan = try MemoryPlan(runner, threads: 1)
      estimatedBytes = plan.weightBytes + plan.mappedBytes
    } catch {
      throw .model("\(error)")
    }
  }

  /// Writes configuration, tokenizer and template files and the packed weights; only the weights where `folder` is the
  /// model's own.
  ///
  /// - Parameters:
  ///   - overwrites: replaces files of a folder that is not empty.
  ///   - progress: told the share that is written, 0…1.
  package func write(
    to folder: String, overwrites: Bool, progress: @escaping (Double) -> Void
  ) throws(EngineStartError) -> Result {
    let isOwn = configuration.modelFolder.map { Self.isSame($0, folder) } ?? false
    try prepare(folder, isOwn: isOwn, overwrites: overwrites)
    do {
      if !isOwn {
        for name in files.names where !Self.isWeights(name) { try copy(name, to: folder) }
      }
      let (index, warnings) = try PackedFile.write(
        runner, files: files, into: folder, device: try Self.device(configuration), progress: progress)
      return Result(formats: index.formats, warnings: warnings)
    } catch let error as HardwareError {
      throw .memory("\(error)")
    } catch let error as EngineStartError {
      throw error
    } catch {
      throw .model("\(error)")
    }
  }

  /// Reads a packed model and compares every part with its checksum. Answers the bytes that were read.
  package static func verify(
    _ configuration: EngineConfiguration, progress: @escaping (Double) -> Void
  ) throws(EngineStartError) -> Int {
    let files = configuration.modelFolder.map { ModelFiles(folder: $0) } ?? StoryModel.files
    let found: PackedFile?
    do { found = try PackedFile(files) } catch { throw .model("\(error)") }
    guard let file = found else {
      throw .model(
        "\(files.path(PackedIndex.fileName)) is missing: there is nothing to verify; write it with swerve quantize")
    }
    if let part = file.damage(try device(configuration), progress: progress) {
      throw .model("\(file.path): \(part) does not agree with its checksum; write the file again with swerve quantize")
    }
    return file.weightBytes + file.tableBytes
  }

  private static func device(_ configuration: EngineConfiguration) throws(EngineStartError) -> CPUDevice {
    do {
      return try CPUDevice(configuration: CPUConfiguration(threadCount: configuration.threads))
    } catch {
      throw .device("\(error)")
    }
  }

  // MARK: Files

  private func prepare(_ folder: String, isOwn: Bool, overwrites: Bool) throws(EngineStartError) {
    if mkdir(folder, 0o755) == 0 { return }
    let reason = String(cString: strerror(errno))
    var status = stat()
    guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw .configuration(["--output \(folder) cannot be made: \(reason)."])
    }
    let present = ModelFiles(folder: folder).names
    if overwrites || present.isEmpty || isOwn && !present.contains(PackedIndex.fileName) { return }
    throw .configuration([
      "--output \(folder) has files already (\(present.prefix(3).joined(separator: ", "))); give another folder, or --force "
        + "to write over them."
    ])
  }

  /// Folders and other formats of the weights stay behind.
  private func copy(_ name: String, to folder: String) throws {
    if let source = configuration.modelFolder {
      var status = stat()
      guard stat(source + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
    }
    guard let file = try files.file(name) else { return }
    try file.withBytes { bytes in
      let output = try OutputFile(folder: folder, name: name, bytes: bytes.count)
      try output.write(bytes)
      try output.commit()
    }
  }

  private static func isWeights(_ name: String) -> Bool {
    let endings = [
      ".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".gguf", ".onnx", ".h5",
      ".msgpack", ".tmp",
    ]
    return name == PackedIndex.fileName || name.hasPrefix(".") || endings.contains { name.hasSuffix($0) }
  }

  private static func isSame(_ a: String, _ b: String) -> Bool {
    var first = stat()
    var second = stat()
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev
      && first.st_ino == second.st_ino
  }
}
