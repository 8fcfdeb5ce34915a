import SwerveAccess
import SwerveCommand
import SwerveCore
import Testing

@Suite struct PrecedenceTests {
  @Test func theCommandLineWinsOverTheEnvironmentAndThatOverTheFile() throws {
    let file = TemporaryFile("block_size: 64\nmax-num-seqs: 5\nport: 9000\n")
    let environment = ["SWERVE_MAX_NUM_SEQS": "6", "SWERVE_BLOCK_SIZE": "32"]
    let settings = try parse(["--block-size", "128", "--config", file.path], environment: environment).settings
    #expect(settings.engine.blockSize == 128)
    #expect(settings.engine.maxSequences == 6)
    #expect(settings.server.port == 9000)
  }

  @Test func ourNamesWinOverTheOlderOnes() throws {
    #expect(try parse([], environment: ["VLLM_API_KEY": "old"]).settings.server.apiKeys == ["old"])
    #expect(
      try parse([], environment: ["VLLM_API_KEY": "old", "SWERVE_API_KEY": "new"]).settings.server.apiKeys == ["new"])
    #expect(try parse(["--api-key", "k"], environment: ["VLLM_API_KEY": "old"]).settings.server.apiKeys == ["k"])
    #expect(try parse([], environment: ["VLLM_LOGGING_LEVEL": "WARNING"]).settings.log.level == "warning")
    #expect(try parse([], environment: ["SWERVE_LOGGING_LEVEL": "error"]).settings.log.level == "error")
  }

  static let variables: [([String: String], @Sendable (Settings) -> Bool)] = [
    (["VLLM_CPU_KVCACHE_SPACE": "4"], { $0.engine.kvCacheBytes == 4 << 30 }),
    (["VLLM_CPU_KVCACHE_SPACE": "0"], { $0.engine.kvCacheBytes == nil }),
    (["SWERVE_CPU_KVCACHE_SPACE": "512MiB"], { $0.engine.kvCacheBytes == 512 << 20 }),
    (["OMP_NUM_THREADS": "3"], { $0.engine.threads == 3 }),
    (["SWERVE_CPU_KERNELS": "scalar"], { $0.engine.kernelSet == "scalar" }),
    (["VLLM_MAX_N_SEQUENCES": "9"], { $0.engine.maxSequencesPerRequest == 9 }),
    (["VLLM_MAX_COMPLETION_PROMPTS": "9"], { $0.server.maxCompletionPrompts == 9 }),
    (["VLLM_LOG_STATS_INTERVAL": "2.5"], { $0.server.statisticsInterval == 2.5 }),
    (["VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "7"], { $0.server.keepAliveTimeout == 7 }),
    (["VLLM_SERVER_DEV_MODE": "1"], { $0.server.enablesAdminEndpoints }),
    (["HF_HUB_OFFLINE": "1"], { $0.hub.offline }), (["HF_TOKEN": "hf_x"], { $0.hub.token == "hf_x" }),
    (["SWERVE_PORT": "81"], { $0.server.port == 81 }), (["VLLM_BATCH_INVARIANT": "1"], { _ in true }),
    (["DO_NOT_TRACK": "1", "VLLM_DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1"], { _ in true }),
    (["SWERVE_SERVED_MODEL_NAME": "a,b"], { $0.server.servedModelNames == ["a", "b"] }),
    (["SWERVE_BLOCK_SIZE": ""], { $0.engine.blockSize == 16 }),
  ]

  @Test(arguments: variables.indices)
  func theEnvironmentIsRead(_ row: Int) throws {
    let (environment, holds) = Self.variables[row]
    let (settings, _, warnings) = try parse([], environment: environment)
    #expect(holds(settings), "\(environment)")
    #expect(warnings.isEmpty, "\(warnings)")
  }

  @Test func aFlagWinsOverTheOlderVariableOfTheSameThing() throws {
    let environment = ["VLLM_CPU_KVCACHE_SPACE": "4"]
    let settings = try parse(["--kv-cache-memory-bytes", "1GiB"], environment: environment).settings
    #expect(settings.engine.kvCacheBytes == 1 << 30)
  }

  @Test func unknownVariablesWarnOnce() throws {
    let environment = ["SWERVE_NONSENSE": "1", "VLLM_OTHER": "1", "HOME": "/x", "SWERVE_INNER": "1"]
    let warnings = try parse([], environment: environment).warnings
    #expect(warnings == ["unknown environment variables: SWERVE_NONSENSE, VLLM_OTHER."])
    #expect(problems(["--fail-on-environ-validation"], environment: environment).count == 1)
    #expect(try parse([], environment: ["VLLM_PORT": "1"]).warnings.count == 1)
  }

  @Test func aVariableLetsTheLengthExceedTheModels() throws {
    let variable = ["VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"]
    #expect(try parse([], environment: variable).settings.engine.allowLongMaxModelLength)
    #expect(try parse([]).settings.engine.allowLongMaxModelLength == false)
  }

  @Test func badVariablesAreProblems() {
    #expect(problems([], environment: ["OMP_NUM_THREADS": "many"]).first?.hasPrefix("OMP_NUM_THREADS needs") == true)
    #expect(
      problems([], environment: ["SWERVE_DATA_PARALLEL_SIZE": "2"]).first?.contains("not supported yet") == true)
  }

  @Test func theFileHasEveryKindOfValue() throws {
    let file = TemporaryFile(
      """
      # a comment
      model: org/name
      enable-prefix-caching: false
      no-enable-chunked-prefill: true
      max_model_len: 2k
      kv-cache-memory-bytes: 1GiB
      watermark: 0.25
      served-model-name: [a, "b"]
      hf-overrides:
        rope_scaling: {type: yarn, factor: 4.0}
        tie: true
        name: "1"
      max-num-queued-reqs: null
      """)
    let settings = try parse(["--config", file.path]).settings
    #expect(settings.model == "org/name")
    #expect(!settings.engine.enablePrefixCaching && !settings.engine.enableChunkedPrefill)
    #expect(settings.engine.maxModelLength == 2000)
    #expect(settings.engine.kvCacheBytes == 1 << 30)
    #expect(settings.engine.watermark == 0.25)
    #expect(settings.server.servedModelNames == ["a", "b"])
    #expect(
      settings.engine.configOverrides == ["rope_scaling": ["type": "yarn", "factor": 4.0], "tie": true, "name": "1"])
    #expect(settings.engine.maxQueuedRequests == nil)
  }

  static let badFiles: [(String, String)] = [
    ("blok-size: 16", "unknown key blok-size; did you mean block-size?"), ("- a\n- b", "must hold flag names"),
    ("a: [", "is not YAML"), ("port: [1, 2]", "needs N, not a list"), ("port: x", "needs a whole number"),
    ("data-parallel-size: 4", "not supported yet"), ("config: other.yaml", "unknown key config"),
  ]

  @Test(arguments: badFiles.indices)
  func aBadFileIsExplained(_ row: Int) {
    let (text, sentence) = Self.badFiles[row]
    let file = TemporaryFile(text)
    let found = problems(["--config", file.path])
    #expect(found.count == 1 && found[0].contains(sentence), "\(found)")
    #expect(found.allSatisfy { $0.contains(file.path) })
  }

  @Test func aMissingFileIsNamed() {
    #expect(problems(["--config", "/no/such.yaml"]).first?.contains("cannot read /no/such.yaml") == true)
  }

  @Test func thePrintedConfigurationReadsBackAndKeepsSecrets() throws {
    let arguments = [
      "--block-size", "32", "--hf-overrides", #"{"a": {"b": 1}}"#, "--served-model-name", "it's", "--api-key", "s3cret",
    ]
    let parser = SettingsParser(command: "serve", table: .serve, environment: [:], takesModel: true)
    guard case .print(let text) = try parser.parse(arguments + ["--print-config"]) else {
      Issue.record("nothing printed")
      return
    }
    #expect(!text.contains("s3cret"))
    let file = TemporaryFile(text)
    let settings = try parse(["--config", file.path]).settings
    #expect(settings.engine.blockSize == 32)
    #expect(settings.engine.configOverrides == ["a": ["b": 1]])
    #expect(settings.server.servedModelNames == ["it's"])
  }
}
