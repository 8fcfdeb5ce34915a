package import SwerveCore
package import SwerveHardware

extension WeightLoader {
  /// Opens and checks what the configuration says the weights come from, and reads none of them. The warnings are worth
  /// showing at start.
  static func source(
    _ configuration: RunnerConfiguration, files: ModelFiles
  ) throws(ModelFileError) -> (source: Source, warnings: [String]) {
    switch configuration.weights {
    case .random(let seed): return (.random(seed: seed), [])
    case .packed: return (.packed(try packed(configuration.model, files: files)), [])
    case .checkpoint:
      let checkpoint = try Checkpoint(files)
      let unexpected = try configuration.model.check(checkpoint, place: files.place)
      if unexpected.isEmpty { return (.checkpoint(checkpoint), []) }
      let shown = unexpected.prefix(5).joined(separator: ", ") + (unexpected.count > 5 ? ", …" : "")
      let warning =
        "\(files.place): \(unexpected.count) tensors are not part of \(configuration.model.architecture) and are ignored: "
        + shown
      return (.checkpoint(checkpoint), [warning])
    }
  }

  private static func packed(_ model: ModelConfiguration, files: ModelFiles) throws(ModelFileError) -> PackedFile {
    let path = files.path(PackedIndex.fileName)
    guard let file = try PackedFile(files) else {
      throw ModelFileError(file: path, reason: "is missing; write it with swerve quantize")
    }
    guard file.index.architecture == model.architecture else {
      throw ModelFileError(
        file: path,
        reason: "it holds a \(quoted(file.index.architecture)) and config.json says \(quoted(model.architecture)); "
          + "write it again with swerve quantize")
    }
    // Beside the weights that it was made from it must still be theirs.
    if let source = file.index.source, Checkpoint.isPresent(in: files), try Checkpoint(files).fingerprint != source {
      throw ModelFileError(
        file: path,
        reason: "it was not made from the safetensors weights beside it; write it again with swerve quantize, "
          + "or load those with --load-format safetensors")
    }
    return file
  }
}

extension PackedFile {
  /// Writes a model's weights in the form and formats that a runner of this configuration would pack them into.
  ///
  /// - Parameters:
  ///   - files: of the model; not read for random weights.
  ///   - folder: where the packed weight file goes; must exist.
  ///   - progress: told the share that is written, 0…1.
  /// - Returns: what was written, and warnings.
  /// - Throws: `ModelFileError` for what is wrong with the model or with the disk, `HardwareError` for memory.
  package static func write(
    _ configuration: RunnerConfiguration, files: ModelFiles, into folder: String, device: CPUDevice,
    progress: @escaping (Double) -> Void = { _ in }
  ) throws -> (index: PackedIndex, warnings: [String]) {
    let (source, warnings) = try WeightLoader.source(configuration, files: files)
    var fingerprint: UInt64?
    if case .checkpoint(let checkpoint) = source { fingerprint = checkpoint.fingerprint }
    let plan = try MemoryPlan(configuration, threads: device.threadCount)
    let writer = try PackedFileWriter(
      folder: folder, type: configuration.type, architecture: configuration.model.architecture,
      quantization: configuration.quantization,
      source: fingerprint,
      bytes: plan.weightBytes + plan.mappedBytes, device: device)
    var loader = WeightLoader(
      configuration: configuration.model, policy: configuration.policy, device: device, source: source, writer: writer,
      progress: progress)
    _ = try loader.load()
    return (try writer.finish(), warnings + configuration.policy.warnings)
  }
}
