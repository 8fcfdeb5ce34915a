import Foundation
import SwerveCore
import Testing

/// A model that is larger than the memory which its process may use.
@Suite struct MemoryLimitTests {
  /// 16 layers of 18 MiB and a head of 12 MiB.
  static let model = """
    {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 768, "intermediate_size": 3072,
     "num_hidden_layers": 16, "num_attention_heads": 12, "num_key_value_heads": 12, "vocab_size": 8192,
     "tie_word_embeddings": false, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "hidden_act": "silu",
     "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
    """
  static let weightBytes = 16 * (4 * 768 * 768 + 3 * 768 * 3072) * 2 + 8192 * 768 * 2
  /// A little more than half of the weights: the program itself, activations, a cache of some tokens and the ring.
  static let limit = 170 << 20

  /// How memory is limited here.
  enum Limit { case group(String), dataSegment }

  static func makeLimit() -> Limit {
    let group = "/sys/fs/cgroup/memory/swerve-test-\(getpid())"
    if mkdir(group, 0o755) == 0 {
      let isSet =
        (try? "\(limit)".write(toFile: group + "/memory.limit_in_bytes", atomically: false, encoding: .utf8)) != nil
      if isSet { return .group(group) }
      rmdir(group)
    }
    return .dataSegment
  }

  static func program() throws -> String {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var folder = URL(filePath: own).deletingLastPathComponent()
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
    if !FileManager.default.isExecutableFile(atPath: folder.appending(path: "gather-benchmark").path()), let bundle {
      folder = URL(filePath: bundle).deletingLastPathComponent()
    }
    let program = folder.appending(path: "gather-benchmark").path()
    try #require(FileManager.default.isExecutableFile(atPath: program), "\(program) is not built")
    return program
  }

  /// Runs the program under the limit, or freely; nil where it did not end well.
  static func run(_ words: [String], limit: Limit?) throws -> JSON? {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    let before: String
    switch limit {
    case .group(let path): before = "echo $$ > \(path)/cgroup.procs && "
    // What a process writes to; mapped files do not count.
    case .dataSegment: before = "ulimit -d \(Self.limit >> 10) && "
    case nil: before = ""
    }
    process.arguments = ["-c", before + "exec \"$@\"", "sh", try program()] + words
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0, process.terminationReason == .exit else { return nil }
    return try JSON(parsing: [UInt8](data))
  }

  @Test func `a model twice as large as the memory limit serves, with the tokens of an unlimited run`() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swerve-limit-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try Self.model.write(to: folder.appending(path: "config.json"), atomically: false, encoding: .utf8)
    let packed = folder.appending(path: "packed").path()
    let pack = Process()
    pack.executableURL = URL(filePath: try Self.program())
    pack.arguments = ["pack", folder.path(), packed]
    try pack.run()
    pack.waitUntilExit()
    #expect(pack.terminationStatus == 0)

    let limit = Self.makeLimit()
    defer { if case .group(let path) = limit { rmdir(path) } }
    let shape = ["1", "48", "6", "3"]
    let resident = try #require(try Self.run(["run", folder.path(), "dummy", "none"] + shape, limit: nil))
    let gathered = try #require(
      try Self.run(["run", packed, "packed", "nvme"] + shape, limit: limit), "gathered weights did not fit the limit")
    #expect(gathered["tokens"] == resident["tokens"])
    #expect(resident["tokens"]?.array?.count == 3 && resident["tokens"]?[0]?.array?.count == 6)
    let steps = try #require(gathered["steps"]?.int)
    #expect(steps >= 6)
    #expect(try #require(gathered["gathered_bytes"]?.int) > steps * Self.weightBytes * 3 / 4)
    let peak = try #require(gathered["peak_resident_bytes"]?.int)
    #expect(peak < Self.limit && Self.limit < Self.weightBytes * 6 / 10, "\(peak) bytes were resident")
    #expect(try #require(resident["peak_resident_bytes"]?.int) > Self.weightBytes)
    // The limit is one: who loads everything does not live under it.
    #expect(try Self.run(["run", folder.path(), "dummy", "none"] + shape, limit: limit) == nil)
  }
}
