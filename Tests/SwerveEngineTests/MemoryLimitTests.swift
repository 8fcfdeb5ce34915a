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

  /// Writes the model's packed weights below a folder that is made for them.
  static func pack(into folder: URL) throws -> String {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try model.write(to: folder.appending(path: "config.json"), atomically: false, encoding: .utf8)
    let packed = folder.appending(path: "packed").path()
    let pack = Process()
    pack.executableURL = URL(filePath: try program())
    pack.arguments = ["pack", folder.path(), packed]
    try pack.run()
    pack.waitUntilExit()
    #expect(pack.terminationStatus == 0)
    return packed
  }

  /// Whether processes can have a limit each.
  static var hasGroups: Bool {
    guard case .group(let path) = makeLimit() else { return false }
    rmdir(path)
    return true
  }

  @Test(.enabled(if: hasGroups, "memory control groups cannot be made here"))
  func `a model twice as large as any process's memory limit is shared out among processes`() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swerve-limit-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let packed = try Self.pack(into: folder)
    let group = "/sys/fs/cgroup/memory/swerve-peers-\(getpid())"
    try #require(mkdir(group, 0o755) == 0)
    try "\(Self.limit)".write(toFile: group + "/memory.limit_in_bytes", atomically: false, encoding: .utf8)
    defer {
      // Processes that were told to end take a moment to leave their groups.
      for _ in 0..<50 {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/fs/cgroup/memory")) ?? []
        let left = all.filter { $0.hasPrefix("swerve-peers-\(getpid())") }.map { "/sys/fs/cgroup/memory/" + $0 }
        if left.filter({ rmdir($0) != 0 }).isEmpty { break }
        usleep(100_000)
      }
    }
    let resident = try #require(
      try Self.run(["run", folder.path(), "dummy", "none", "1", "48", "6", "3"], limit: nil))
    let ranks = 6
    let shared = try #require(
      try Self.run(
        ["run", packed, "packed", "peers", "1", "48", "6", "3", "\(ranks)", group, "\(Self.limit)"],
        limit: .group(group)), "shared weights did not fit the limits")
    #expect(shared["tokens"] == resident["tokens"])
    #expect(shared["tokens"]?.array?.count == 3 && shared["tokens"]?[0]?.array?.count == 6)
    let steps = try #require(shared["steps"]?.int)
    let read = try #require(shared["gathered_bytes"]?.int)
    let fetched = try #require(shared["fetched_bytes"]?.int)
    #expect(read > steps * Self.weightBytes * 3 / 4)
    // Five of six bytes are other ranks'.
    #expect(abs(Double(fetched) / Double(read) - Double(ranks - 1) / Double(ranks)) < 0.05)
    let peak = try #require(shared["peak_resident_bytes"]?.int)
    #expect(peak < Self.limit && Self.limit < Self.weightBytes * 6 / 10, "\(peak) bytes were resident")
  }

  @Test func `a model twice as large as the memory limit serves, with the tokens of an unlimited run`() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swerve-limit-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let packed = try Self.pack(into: folder)

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
