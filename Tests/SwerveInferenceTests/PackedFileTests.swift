import SwerveCore
import SwerveHardware
import SwerveInference
import Testing

@Suite struct PackedFileTests {
  static let limits = RunnerLimits(rows: 64, sequences: 4, contextTokens: 128)

  static func device() throws -> CPUDevice {
    try CPUDevice(configuration: CPUConfiguration(threadCount: 2, isPinned: false))
  }

  /// A folder with config.json and the packed weights of a fixture.
  static func packed(
    _ model: String, _ type: ElementType, _ quantization: WeightFormat? = nil,
    weights: RunnerConfiguration.Weights = .checkpoint
  ) throws -> TemporaryFolder {
    let files = Fixture.files(model)
    let folder = TemporaryFolder()
    try folder.copy("config.json", from: files)
    let configuration = RunnerConfiguration(
      model: try ModelConfiguration(files), type: type, quantization: quantization, weights: weights, limits: limits)
    _ = try PackedFile.write(configuration, files: files, into: folder.path, device: try device())
    return folder
  }

  static let fromFile = RunnerConfiguration.Weights.packed(weightBytes: 0, tableBytes: 0)

  /// Tokens and the bits of their log-probabilities.
  static func answer(
    _ files: ModelFiles, _ type: ElementType, _ quantization: WeightFormat? = nil, kernels: KernelSet? = nil,
    weights: RunnerConfiguration.Weights, gathering: GatherConfiguration? = nil
  ) throws -> ([TokenID], [UInt32]) {
    let harness = try Harness(
      files: files, type: type, kernels: kernels, threads: 2, rows: 64, sequences: 4, blockCount: 32,
      contextTokens: 128, quantization: quantization, weights: weights, gathering: gathering)
    let sequence = try harness.add([5, 9, 2, 77, 31], Harness.greedy { $0.logprobs = 3 })
    try harness.generate(12, [sequence])
    let alternatives = sequence.alternatives.flatMap { $0 }.map(\.logprob.bitPattern)
    return (sequence.generated, sequence.samples.map(\.logprob.bitPattern) + alternatives)
  }

  @Test(arguments: Fixture.models)
  func `mapped weights give the bits of weights packed on load`(model: String) throws {
    for type in ElementType.allCases {
      let folder = try Self.packed(model, type)
      for kernels in KernelSet.scalarAndBest {
        let loaded = try Self.answer(Fixture.files(model), type, kernels: kernels, weights: .checkpoint)
        let mapped = try Self.answer(folder.files, type, kernels: kernels, weights: Self.fromFile)
        #expect(loaded.0 == mapped.0 && loaded.1 == mapped.1, "\(type), \(kernels)")
      }
      #expect(folder.files.names == ["config.json", "model.swerve"])
    }
  }

  @Test(arguments: [
    WeightFormat.int8, .int4(group: 32), .int4(group: 128), .nf4(group: 64), .int8Dynamic, .int4Dynamic(group: 32),
  ])
  func `quantised weights come back as they were made`(format: WeightFormat) throws {
    for model in ["llama_gqa_llama3", "qwen3"] {
      for type in [ElementType.bfloat16, .float32] {
        let folder = try Self.packed(model, .bfloat16, format)
        #expect(try PackedFile(folder.files)?.index.quantization == format)
        let loaded = try Self.answer(Fixture.files(model), type, format, weights: .checkpoint)
        let mapped = try Self.answer(folder.files, type, format, weights: Self.fromFile)
        #expect(loaded.0 == mapped.0 && loaded.1 == mapped.1, "\(model), \(type)")
      }
    }
  }

  @Test func `weights in another format than the configuration's are refused`() throws {
    let folder = try Self.packed("qwen3", .bfloat16, .int8)
    #expect(throws: ModelFileError.self) {
      try Self.answer(folder.files, .bfloat16, .nf4(group: 32), weights: Self.fromFile)
    }
    #expect(throws: ModelFileError.self) { try Self.answer(folder.files, .bfloat16, weights: Self.fromFile) }
  }

  @Test func `random weights can be written too`() throws {
    let random = RunnerConfiguration.Weights.random(seed: 7)
    let folder = try Self.packed("qwen2", .bfloat16, weights: random)
    let loaded = try Self.answer(Fixture.files("qwen2"), .bfloat16, weights: random)
    let mapped = try Self.answer(folder.files, .bfloat16, weights: Self.fromFile)
    #expect(loaded.0 == mapped.0 && loaded.1 == mapped.1)
  }

  @Test func `the memory plan counts what the file holds`() throws {
    for model in ["llama_mha", "qwen2"] {
      let folder = try Self.packed(model, .bfloat16)
      let file = try #require(try PackedFile(folder.files))
      var configuration = RunnerConfiguration(
        model: try ModelConfiguration(folder.files), type: .bfloat16, limits: Self.limits)
      let onLoad = try MemoryPlan(configuration, threads: 2)
      configuration.weights = .packed(weightBytes: file.weightBytes, tableBytes: file.tableBytes)
      let mapped = try MemoryPlan(configuration, threads: 2)
      #expect(mapped.weightBytes == onLoad.weightBytes, "\(model)")
      #expect((mapped.mappedBytes > 0) == !configuration.model.tiedEmbeddings)
    }
  }

  // MARK: Refusals

  static func refusal(_ folder: TemporaryFolder, _ type: ElementType = .bfloat16) -> String {
    do {
      _ = try answer(folder.files, type, weights: fromFile)
      return "none"
    } catch { return "\(error)" }
  }

  /// The number at a place of the header.
  static func word(_ bytes: [UInt8], _ place: Int) -> Int {
    (0..<8).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) }
  }

  /// The file with another index and a checksum that agrees with it.
  static func replaceIndex(_ bytes: [UInt8], with index: [UInt8]) -> [UInt8] {
    let offset = word(bytes, 16)
    var changed = Array(bytes[..<offset]) + index
    changed += [UInt8](repeating: 0, count: 64)
    let checksum = index.withUnsafeBytes { Checksum.of($0) }
    for (place, number) in [(24, UInt64(index.count)), (32, checksum), (40, UInt64(changed.count))] {
      for byte in 0..<8 { changed[place + byte] = UInt8(truncatingIfNeeded: number >> (8 * byte)) }
    }
    return changed
  }

  @Test func `each kind of damage is refused in a sentence of its own`() throws {
    let folder = try Self.packed("qwen2", .bfloat16)
    let valid = try folder.read("model.swerve")
    func expect(_ bytes: [UInt8], _ sentence: String) {
      folder.write("model.swerve", bytes)
      let refusal = Self.refusal(folder)
      #expect(refusal.hasPrefix(folder.path + "/model.swerve: ") && refusal.contains(sentence), "\(refusal)")
    }
    func changed(_ place: Int, _ byte: UInt8) -> [UInt8] {
      var bytes = valid
      bytes[place] = byte
      return bytes
    }
    expect([], "has at least 64 bytes and this one has 0")
    expect(Array(valid.prefix(63)), "has at least 64 bytes")
    expect(changed(0, 0), "does not begin with SWERVEPK")
    expect(changed(8, 9), "is of version 9 and this build reads version 1")
    expect(Array(valid.dropLast()), "it was cut")
    expect(valid + [0], "should have")
    expect(changed(23, 0x7f), "index lies outside the file")
    expect(changed(31, 0x7f), "index lies outside the file")
    expect(changed(Self.word(valid, 16) + 5, 0), "does not agree with its checksum")
    let index = Array(valid[Self.word(valid, 16)..<Self.word(valid, 16) + Self.word(valid, 24)])
    let text = String(decoding: index, as: UTF8.self)
    func replacing(_ old: String, _ new: String, _ sentence: String) {
      let other = text.replacing(old, with: new, maxReplacements: 1)
      #expect(other != text)
      expect(Self.replaceIndex(valid, with: Array(other.utf8)), sentence)
    }
    expect(Self.replaceIndex(valid, with: Array("{".utf8)), "its index is")
    replacing("stacked", "diagonal", "has one that this build does not know")
    replacing(#""format":"bfloat16""#, #""format":"int9""#, "has one that this build does not know")
    replacing("Qwen2ForCausalLM", "LlamaForCausalLM", "config.json says")
    replacing("q_proj", "p_proj", "is missing")
    replacing(#""segments":1"#, #""segments":4"#, "and config.json asks for")
    replacing(#""offset":4096"#, #""offset":4100"#, "at an odd place")
    replacing(#""offset":4096"#, #""offset":4096000"#, "lies outside the file")
    folder.write("model.swerve", valid)
    #expect(Self.refusal(folder) == "none")
    #expect(Self.refusal(folder, .float16).contains("leave out --dtype, or write the file again with --dtype float16"))
  }

  @Test func `weights of another model's shape are refused`() throws {
    let folder = try Self.packed("qwen2", .bfloat16)
    let config = String(decoding: try folder.read("config.json"), as: UTF8.self)
    let model = try ModelConfiguration(folder.files)
    let other = config.replacing(
      "\"intermediate_size\": \(model.intermediateSize)", with: "\"intermediate_size\": \(model.intermediateSize + 16)")
    #expect(other != config)
    folder.write("config.json", Array(other.utf8))
    #expect(Self.refusal(folder).contains("and config.json asks for"))
  }

  @Test func `a file that was made from other weights than those beside it is refused`() throws {
    let folder = try Self.packed("qwen2", .bfloat16)
    try folder.copy("model.safetensors", from: Fixture.files("qwen2"))
    #expect(Self.refusal(folder) == "none")
    var weights = try folder.read("model.safetensors")
    for place in weights.indices.suffix(weights.count / 2) { weights[place] ^= 1 }
    folder.write("model.safetensors", weights)
    #expect(Self.refusal(folder).contains("not made from the safetensors weights beside it"))
  }

  @Test func `no mutation of an index traps`() throws {
    let folder = try Self.packed("llama_mha", .bfloat16)
    let valid = try folder.read("model.swerve")
    let index = Array(valid[Self.word(valid, 16)..<Self.word(valid, 16) + Self.word(valid, 24)])
    let model = try ModelConfiguration(folder.files)
    let files = folder.files
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = Randomness(seed: seed)
    let device = try Self.device()
    var accepted = 0
    for _ in 0..<400 {
      var mutated = index
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0..<mutated.count, using: &random)
        mutated[place] = Array("0123456789-{}[]\",ex".utf8).randomElement(using: &random) ?? 0
      }
      folder.write("model.swerve", Self.replaceIndex(valid, with: mutated))
      let configuration = RunnerConfiguration(
        model: model, type: .bfloat16, weights: Self.fromFile, limits: Self.limits)
      if (try? ModelRunner(configuration, files: files, device: device, blockCount: 8)) != nil { accepted += 1 }
      if let file = try? PackedFile(files) { _ = file.damage(device) }
    }
    #expect(accepted < 400, "seed \(seed)")
  }

  // MARK: Checksums

  @Test func `verification names the damaged part`() throws {
    let folder = try Self.packed("qwen2", .float32)
    let device = try Self.device()
    let file = try #require(try PackedFile(folder.files))
    var shares: [Double] = []
    #expect(file.damage(device) { shares.append($0) } == nil)
    #expect(shares.last == 1 && shares == shares.sorted())
    let valid = try folder.read("model.swerve")
    for (name, region) in file.index.regions {
      var bytes = valid
      bytes[region.offset + region.byteCount / 2] ^= 0x10
      folder.write("model.swerve", bytes)
      #expect(try PackedFile(folder.files)?.damage(device) == name)
    }
  }

  @Test func `a checksum sees every byte and does not depend on threads`() throws {
    var random = Randomness(seed: 3)
    let device = try Self.device()
    for count in [0, 1, 7, 31, 32, 33, 1000, 1 << 20, (1 << 20) + 1, 3 << 20] {
      var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let sum = bytes.withUnsafeBytes { Checksum.of($0) }
      #expect(bytes.withUnsafeBytes { device.checksum($0) } == sum)
      for _ in 0..<min(count, 50) {
        let place = Int.random(in: 0..<count, using: &random)
        bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        #expect(bytes.withUnsafeBytes { device.checksum($0) } != sum)
        bytes.withUnsafeBytes { #expect(Checksum.of($0) == device.checksum($0)) }
        if count <= 1 { break }
      }
    }
    let zeros = [UInt8](repeating: 0, count: 64)
    #expect(
      zeros.withUnsafeBytes { Checksum.of($0) } != zeros.dropLast(32).withUnsafeBytes { Checksum.of($0) })
  }

  // MARK: Writing

  @Test func `a file that cannot be finished leaves nothing behind`() throws {
    let folder = TemporaryFolder()
    let files = Fixture.files("qwen2")
    try folder.copy("config.json", from: files)
    var weights = try files.file("model.safetensors")?.withBytes { Array($0) } ?? []
    weights.removeLast(8)
    folder.write("model.safetensors", weights)
    let configuration = RunnerConfiguration(
      model: try ModelConfiguration(files), type: .bfloat16, limits: Self.limits)
    #expect(throws: ModelFileError.self) {
      try PackedFile.write(configuration, files: folder.files, into: folder.path, device: try Self.device())
    }
    #expect(throws: ModelFileError.self) {
      try PackedFile.write(configuration, files: files, into: folder.path + "/missing", device: try Self.device())
    }
    do {
      let writer = try PackedFileWriter(
        folder: folder.path, type: .bfloat16, architecture: "X", source: nil, bytes: 0, device: try Self.device())
      #expect(folder.files.names.count == 3)
      _ = writer
    }
    #expect(folder.files.names == ["config.json", "model.safetensors"])
    let error = #expect(throws: ModelFileError.self) {
      try PackedFileWriter(
        folder: folder.path, type: .bfloat16, architecture: "X", source: nil, bytes: 1 << 60, device: try Self.device())
    }
    #expect(error?.reason.contains("the disk has") == true)
  }
}
