import SwerveAccess
import SwerveCommand
import SwerveCore
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Parses for `serve` and answers the settings; a failure is the test's.
func parse(
  _ arguments: [String], environment: [String: String] = [:], table: FlagTable = .serve
) throws -> (settings: Settings, positionals: [String], warnings: [String]) {
  let parser = SettingsParser(command: "serve", table: table, environment: environment, takesModel: true)
  guard case .run(let settings, let positionals, let warnings) = try parser.parse(arguments) else {
    throw FlagError("expected settings, got text")
  }
  return (settings, positionals, warnings)
}

/// The problems of a command line that must not parse.
func problems(
  _ arguments: [String], environment: [String: String] = [:], table: FlagTable = .serve
) -> [String] {
  do {
    _ = try parse(arguments, environment: environment, table: table)
    return []
  } catch let error as CommandError {
    #expect(error.code == .usage)
    return error.messages
  } catch {
    return ["not a CommandError: \(error)"]
  }
}

@Suite struct FlagParsingTests {
  @Test func memoryNodesAreReadAsTheSystemWritesThem() throws {
    let given = try parse(["--numa-bind", "--numa-bind-nodes", "1,0", "--numa-bind-cpus=0-2,8"]).settings.engine
    #expect(given.numaBind && given.numaNodes == [0, 1] && given.numaCPUs == [0, 1, 2, 8])
    let automatic = try parse(["--numa-bind=true", "--numa-bind-nodes=auto"]).settings.engine
    #expect(automatic.numaBind && automatic.numaNodes == nil && automatic.numaCPUs == nil)
    #expect(problems(["--numa-bind", "--numa-bind-cpus=3-1"]).first?.contains("0-3,8") == true)
    var alone = EngineConfiguration()
    alone.numaNodes = [0]
    #expect(alone.problems() == ["--numa-bind-nodes needs --numa-bind."])
  }

  @Test(arguments: [
    ["--block-size", "32"], ["--block-size=32"], ["--block_size", "32"], ["--block_size=32"],
  ])
  func dashesAndUnderscoresAndEqualSignsAreTheSame(_ arguments: [String]) throws {
    #expect(try parse(arguments).settings.engine.blockSize == 32)
  }

  static let booleans: [([String], Bool)] = [
    (["--enable-prefix-caching"], true), (["--no-enable-prefix-caching"], false),
    (["--enable-prefix-caching", "false"], false), (["--enable-prefix-caching=true"], true),
    (["--enable_prefix_caching", "True"], true), (["--no-enable-prefix-caching", "false"], true),
    (["--enable-prefix-caching", "--no-enable-prefix-caching"], false),
  ]

  @Test(arguments: booleans.indices)
  func booleansHaveThreeForms(_ row: Int) throws {
    let (arguments, expected) = Self.booleans[row]
    #expect(try parse(arguments).settings.engine.enablePrefixCaching == expected)
  }

  static let integers: [(String, Int?)] = [
    ("12", 12), ("1k", 1000), ("1K", 1024), ("2m", 2_000_000), ("2M", 2_097_152), ("1.5k", 1500), ("auto", -1),
    ("-1", -1), ("AUTO", -1),
  ]

  @Test(arguments: integers.indices)
  func wholeNumbersHaveSuffixes(_ row: Int) throws {
    let (text, expected) = Self.integers[row]
    #expect(try parse(["--max-model-len", text]).settings.engine.maxModelLength == expected)
  }

  @Test(arguments: ["", "1.5", "1kk", "x", "1e3", "0x10", "k", "9999999999999999999", "1.2345k", "99999999999999g"])
  func otherTextIsNoWholeNumber(_ text: String) {
    #expect(problems(["--max-model-len=\(text)"]).first?.contains("needs a whole number") == true)
  }

  static let sizes: [(String, Int)] = [
    ("64MiB", 64 << 20), ("64mib", 64 << 20), ("4GB", 4_000_000_000), ("2GiB", 2 << 30), ("1.5GiB", 3 << 29),
    ("1024", 1024), ("512 KiB", 512 << 10), ("1TiB", 1 << 40), ("10kB", 10_000), ("7B", 7), ("3G", 3 << 30),
  ]

  @Test(arguments: sizes.indices)
  func sizesHaveUnits(_ row: Int) throws {
    let (text, expected) = Self.sizes[row]
    #expect(try parse(["--kv-cache-memory-bytes", text]).settings.engine.kvCacheBytes == expected)
  }

  @Test(arguments: ["1XB", "GiB", "-1MiB", "1e9", "9999999TiB", ""])
  func otherTextIsNoSize(_ text: String) {
    #expect(problems(["--kv-cache-memory-bytes=\(text)"]).first?.contains("needs a size") == true)
  }

  @Test func theModelIsAWordOrAFlag() throws {
    #expect(try parse(["org/name"]).settings.model == "org/name")
    #expect(try parse(["--model", "org/name"]).settings.engine.modelName == "org/name")
    #expect(try parse(["org/name", "--model", "org/name"]).settings.model == "org/name")
    #expect(try parse([]).settings.server.servedModelNames == ["story"])
    #expect(problems(["a/b", "--model", "c/d"]) == ["the model is given twice: a/b and --model c/d."])
    #expect(try parse(["a/b", "c/d"]).positionals == ["c/d"])
  }

  @Test func listsTakeWordsUntilTheNextFlag() throws {
    let settings = try parse(["m", "--served-model-name", "a", "b", "--api-key", "x", "--api-key", "y"]).settings
    #expect(settings.server.servedModelNames == ["a", "b"])
    #expect(settings.server.apiKeys == ["x", "y"])
    #expect(try parse(["--allowed-origins", #"["http://a", "http://b"]"#]).settings.server.allowedOrigins.count == 2)
  }

  @Test func jsonFlagsTakeTextMembersAndFiles() throws {
    let merged = try parse([
      "--hf-overrides", #"{"a": 1, "rope_scaling": {"type": "linear"}}"#, "--hf-overrides.rope_scaling.factor", "2.5",
      "--hf-overrides.name=x",
    ]).settings.engine.configOverrides
    #expect(merged == ["a": 1, "rope_scaling": ["type": "linear", "factor": 2.5], "name": "x"])
    let file = TemporaryFile(#"{"temperature": 0.5}"#)
    #expect(
      try parse(["--override-generation-config", "@\(file.path)"]).settings.engine.overrideGenerationConfig
        == ["temperature": 0.5])
    #expect(problems(["--hf-overrides", "{"]).first?.contains("needs JSON: not JSON") == true)
    #expect(problems(["--hf-overrides", "[1]"]).first?.contains("needs a JSON object") == true)
    #expect(problems(["--hf-overrides", "@/no/such/file"]).first?.contains("cannot read /no/such/file") == true)
    #expect(problems(["--block-size.x", "1"]).first?.contains("--block-size has none") == true)
  }

  @Test func allProblemsAreToldAtOnce() {
    let found = problems(["--block-siez", "16", "--dtype", "int3", "--port", "x", "--watermark"])
    #expect(found.count == 4)
    #expect(found[0] == "there is no flag --block-siez; did you mean --block-size?")
    #expect(found[1].hasPrefix("--dtype must be one of auto, bf16,"))
    #expect(found[2].hasPrefix("--port needs a whole number"))
    #expect(found[3] == "--watermark needs a value: X.")
  }

  @Test func valuesOutOfRangeAreTheConfigurationsProblems() {
    #expect(problems(["--block-size", "17"]) == ["--block-size must be 16, 32, 64 or 128, not 17."])
    #expect(problems(["--port", "70000"]) == ["--port must be between 0 and 65535, got 70000."])
  }

  @Test(arguments: [
    ("--max-num-squs", "--max-num-seqs"), ("--kv-cache-dtpye", "--kv-cache-dtype"), ("--prot", "--port"),
    ("--tensor-paralel-size", "--tensor-parallel-size"), ("--no-enable-prefix-cachign", "--enable-prefix-caching"),
  ])
  func theNearestNameIsOffered(_ written: String, _ meant: String) {
    #expect(problems([written]) == ["there is no flag \(written); did you mean \(meant)?"] || meant.contains("prefix"))
  }

  @Test func farNamesGetNoOffer() {
    #expect(problems(["--zzzzzzzzzz"]) == ["there is no flag --zzzzzzzzzz; see --help."])
  }

  static let aliases: [([String], @Sendable (Settings) -> Bool)] = [
    (["--max-num-sequences", "7"], { $0.engine.maxSequences == 7 }),
    (["--parallel", "7"], { $0.engine.maxSequences == 7 }), (["-np", "7"], { $0.engine.maxSequences == 7 }),
    (["--max-running-requests", "7"], { $0.engine.maxSequences == 7 }),
    (["--max-sequence-length", "99"], { $0.engine.maxModelLength == 99 }),
    (["--context-length", "99"], { $0.engine.maxModelLength == 99 }),
    (["--ctx-size", "99"], { $0.engine.maxModelLength == 99 }), (["-c", "99"], { $0.engine.maxModelLength == 99 }),
    (["--max-num-batched-tokens", "512"], { $0.engine.maxBatchedTokens == 512 }),
    (["--enable-streaming"], { $0.server.allowsStreaming }),
    (["--no-enable-streaming"], { !$0.server.allowsStreaming }),
    (["--device-memory-utilization", "0.5"], { $0.engine.memoryUtilization == 0.5 }),
    (["--mem-fraction-static", "0.5"], { $0.engine.memoryUtilization == 0.5 }),
    (["--disable-log-requests"], { !$0.server.logsRequests }),
    (["--enable-log-requests"], { $0.server.logsRequests }),
    (["--model-path", "x"], { $0.model == "x" }), (["-m", "x"], { $0.model == "x" }),
    (["--hf", "x"], { $0.model == "x" }),
    (["--disable-uvicorn-access-log"], { !$0.server.logsAccess }),
    (["--uvicorn-log-level", "WARNING"], { $0.log.httpLevel == "warning" }),
    (["-tp", "1"], { _ in true }), (["--tp=1"], { _ in true }), (["--tp-size", "1"], { _ in true }),
    (["-pp", "1"], { _ in true }), (["-dp", "1"], { _ in true }), (["--dp-size", "1"], { _ in true }),
    (["--nnodes", "1", "--node_rank", "0", "--master_addr", "127.0.0.1", "--nproc_per_node", "1"], { _ in true }),
    (["--swap-space", "0"], { _ in true }), (["--quantization", "none"], { _ in true }),
    (["--dtype", "half"], { $0.engine.dtype == .float16 }), (["--dtype", "FP32"], { $0.engine.dtype == .float32 }),
    (["--kv-cache-dtype", "auto"], { $0.engine.kvCacheType == nil }),
    (["--kv-cache-dtype", "FP16"], { $0.engine.kvCacheType == .float16 }),
    (["--kv_cache_dtype=bfloat16"], { $0.engine.kvCacheType == .bfloat16 }),
    (["--kv-cache-dtype", "fp8"], { $0.engine.kvCacheType == .fp8E4M3 }),
    (["--kv-cache-dtype", "fp8_per_token_head"], { $0.engine.kvCacheType == .fp8E4M3 }),
    (["--kv-cache-dtype", "fp8_e5m2"], { $0.engine.kvCacheType == .fp8E5M2 }),
    (["--kv-cache-dtype", "int8"], { $0.engine.kvCacheType == .int8 }),
    (["--disable-log-stats"], { $0.server.statisticsInterval == 0 }),
    (
      ["--disable-access-log-for-endpoints", "/health,/metrics"],
      { $0.server.quietEndpoints == ["/health", "/metrics"] }
    ),
  ]

  @Test(arguments: aliases.indices)
  func everyAliasMeansItsFlag(_ row: Int) throws {
    let (arguments, holds) = Self.aliases[row]
    #expect(holds(try parse(arguments).settings), "\(arguments)")
  }
}

@Suite struct KVTypeFlagTests {
  @Test(arguments: ["int3", "", "fp8_e3m4", "int8 "])
  func aTypeThatIsNoneIsRefusedWithThoseThatAre(_ name: String) {
    let found = problems(["--kv-cache-dtype=\(name)"])
    #expect(found.count == 1)
    #expect(
      found.first?.hasPrefix("--kv-cache-dtype: must be one of auto, bf16, bfloat16, float, ") == true, "\(found)")
  }

  @Test(arguments: ["int4", "int4_per_token_head", "nvfp4"])
  func smallerTypesSayThatTheyAreMissing(_ name: String) {
    let found = problems(["--kv-cache-dtype=\(name)"])
    #expect(found == ["--kv-cache-dtype: \(name) is not supported yet: keys and values have 8 bits or more."])
  }
}

/// A file that goes away with the value.
final class TemporaryFile: Sendable {
  let path: String

  init(_ text: String) {
    path = "/tmp/swerve-command-\(UInt64.random(in: 0 ... .max))"
    do { try TextFile.write(text, to: path) } catch { Issue.record(error) }
  }

  deinit { unlink(path) }
}
