import SwerveCommand
import SwerveCore
import Synchronization
import Testing

@Suite struct CommandTests {
  let record = ConsoleRecord()

  func run(_ arguments: String..., engines: FakeEngines = FakeEngines()) async -> ExitCode {
    let wiring = Wiring(
      engines: engines, serve: { settings, _, console in console.print("serving \(settings.engine.modelName)") },
      lines: EchoLines(), benchKernels: { _, console in console.print("kernels") })
    let context = CommandContext(wiring: wiring, environment: ["HOME": "/nowhere"], console: record.console())
    return await SwerveMain.run(arguments, context: context)
  }

  @Test(arguments: ["--help", "-h", "help", ""])
  func theListOfCommandsIsShown(_ word: String) async {
    let code = word.isEmpty ? await run() : await run(word)
    #expect(code == .success)
    for command in ["serve", "chat", "complete", "bench", "tokenize", "detokenize", "render-template", "collect-env"] {
      #expect(record.output.contains(command))
    }
  }

  @Test(arguments: ["--version", "-v"])
  func theVersionIsShown(_ word: String) async {
    #expect(await run(word) == .success)
    #expect(record.output == "swerve \(Version.text)\n")
  }

  @Test(arguments: [
    ["help", "serve"], ["serve", "--help"], ["help", "bench", "latency"], ["bench", "latency", "-h"], ["bench"],
    ["bench", "--help"],
  ])
  func eachCommandHasItsOwnHelp(_ words: [String]) async {
    let wiring = Wiring(engines: FakeEngines(), serve: { _, _, _ in }, lines: EchoLines(), benchKernels: { _, _ in })
    let context = CommandContext(wiring: wiring, environment: [:], console: record.console())
    #expect(await SwerveMain.run(words, context: context) == .success)
    let expected =
      words.contains("serve")
      ? "usage: swerve serve [MODEL]"
      : words.contains("latency") ? "usage: swerve bench latency [MODEL]" : "swerve bench <subcommand>"
    #expect(record.output.contains(expected))
  }

  @Test(arguments: ["serve", "api_server", "api-server"])
  func servingIsReachedUnderEachName(_ name: String) async {
    #expect(await run(name) == .success)
    #expect(record.output == "serving story\n")
  }

  @Test func anUnknownCommandNamesTheNearest() async {
    #expect(await run("sreve") == .usage)
    #expect(record.errors == "swerve: error: there is no command sreve; did you mean serve?\n")
  }

  @Test(arguments: ["run-batch", "launch", "doctor", "tune"])
  func aPlannedCommandSaysSo(_ name: String) async {
    #expect(await run(name, "--anything", "x") == .usage)
    #expect(record.errors.hasPrefix("swerve: error: swerve \(name) is not supported yet: "))
    #expect(record.errors.split(separator: "\n").count == 1)
  }

  @Test func aBadFlagEndsWithTwoAndOneLineAProblem() async {
    #expect(await run("serve", "--prot", "1", "--dtype", "x") == .usage)
    #expect(record.errors.split(separator: "\n").count == 2)
    #expect(record.errors.split(separator: "\n").allSatisfy { $0.hasPrefix("swerve: error: ") })
  }

  @Test(arguments: ["serve", "chat", "complete"])
  func aDryRunPrintsThePlan(_ name: String) async {
    #expect(await run(name, "--dry-run") == .success)
    #expect(record.output == "memory plan\n")
  }

  @Test(arguments: ["/no/such/folder", "model.gguf", "s3://bucket/model"])
  func aModelThatCannotBeFoundEndsWithThree(_ model: String) async {
    #expect(await run("serve", model) == .model)
    #expect(record.errors.hasPrefix("swerve: error: \(model)"))
  }

  @Test func theEnginesErrorHasItsOwnCode() async {
    #expect(await run("chat", "-q", "hi", engines: FakeEngines(refuses: true)) == .memory)
    #expect(record.errors.hasSuffix("swerve: error: no room for the weights.\n"))
  }

  @Test func oneQuestionGetsOneAnswer() async throws {
    let engine = FakeEngine(defaults: ["temperature": 0.25, "top_p": 0.5])
    let code = await run(
      "chat", "-q", "hello", "--system-prompt", "be brief", "--max-tokens", "2", "--top-p", "0.75", "--stats",
      engines: FakeEngines(engine))
    #expect(code == .success)
    #expect(record.output == "t0 t1 \n")
    #expect(record.errors.contains("2 tokens"))
    let request = try #require(engine.requests.first)
    guard case .chat(let chat) = request.prompt else {
      Issue.record("no conversation")
      return
    }
    #expect(chat.messages.map { $0["content"]?.string } == ["be brief", "hello"])
    #expect(request.params.temperature == 0.25 && request.params.topP == 0.75 && request.params.maxTokens == 2)
    #expect(!request.addSpecialTokens)
  }

  @Test func completingSendsTheTextAsItIs() async throws {
    let engine = FakeEngine()
    #expect(await run("complete", "-q", "once upon", "--max-tokens", "1", engines: FakeEngines(engine)) == .success)
    guard case .text("once upon")? = engine.requests.first?.prompt else {
      Issue.record("no text")
      return
    }
  }

  @Test func aRefusedQuestionEndsWithOneSentence() async {
    #expect(await run("complete", "-q", "fail") == .internalError)
    #expect(record.errors.hasSuffix("swerve: error: this prompt fails.\n"))
  }

  @Test func batchesGetTheOfflineBudget() async throws {
    let engines = FakeEngines()
    let code = await run(
      "bench", "latency", "--num-iters", "2", "--num-iters-warmup", "1", "--batch-size", "2", "--input-len", "4",
      "--output-len", "3", "--block-size", "32", engines: engines)
    #expect(code == .success)
    let configuration = try #require(engines.configurations.first)
    #expect(
      configuration.maxBatchedTokens == 4096 && configuration.maxSequences == 256 && configuration.blockSize == 32)
    #expect(engines.engine.requests.count == 6)
    #expect(record.output.hasPrefix("Avg latency: "))
    for rank in [10, 25, 50, 75, 90, 99] { #expect(record.output.contains("\n\(rank)% percentile latency: ")) }
    #expect(record.errors.contains("fake report"))
  }

  @Test func throughputCountsWhatWasGenerated() async throws {
    let file = TemporaryFile("")
    let code = await run(
      "bench", "throughput", "--num-prompts", "5", "--input-len", "8", "--output-len", "4", "--output-json", file.path)
    #expect(code == .success)
    #expect(record.output.hasPrefix("Throughput: "))
    let json = try JSON(parsing: try TextFile.read(file.path))
    #expect(json["num_requests"] == 5 && json["total_num_tokens"] == 60)
    #expect(json["elapsed_time"]?.double != nil && json["requests_per_second"]?.double != nil)
  }

  @Test func startupCountsColdAndWarm() async throws {
    let file = TemporaryFile("")
    let engines = FakeEngines()
    let code = await run(
      "bench", "startup", "--num-iters-cold", "1", "--num-iters-warm", "2", "--output-json", file.path, engines: engines
    )
    #expect(code == .success)
    #expect(engines.configurations.count == 4)
    let json = try JSON(parsing: try TextFile.read(file.path))
    #expect(json["cold_startup_times"]?.array?.count == 1 && json["warm_startup_times"]?.array?.count == 2)
  }

  @Test func aReplayWithoutAFileIsAUsageError() async {
    #expect(await run("bench", "replay") == .usage)
    #expect(await run("bench", "replay", "--requests", "/no/such") == .usage)
    #expect(record.errors.contains("needs --requests") && record.errors.contains("cannot read /no/such"))
  }

  @Test func aServerThatIsNotThereIsNamed() async {
    #expect(await run("chat", "--url", "http://127.0.0.1:9/v1", "-q", "x") == .internalError)
    #expect(record.errors.contains("cannot reach http://127.0.0.1:9"))
    #expect(await run("chat", "--url", "localhost", "-q", "x") == .usage)
  }

  @Test func textCommandsAnswerArguments() async {
    #expect(await run("tokenize", "some", "text") == .success)
    #expect(await run("detokenize", "1,", "2") == .success)
    #expect(record.output == "[7,8]\nhi\n")
    #expect(await run("detokenize", "9") == .usage)
    #expect(await run("detokenize", "x") == .usage)
    #expect(await run("tokenize") == .usage)
    #expect(await run("render-template") == .usage)
  }

  @Test func theEnvironmentReportMasksSecrets() throws {
    let report = EnvironmentReport.collect(environment: [
      "HF_TOKEN": "hf_secret", "VLLM_API_KEY": "k_secret", "SWERVE_PORT": "81", "UNRELATED": "u_secret",
      "HF_ENDPOINT": "https://me:p_secret@host",
    ])
    for text in [report.text, JSON.object(report.json).text] {
      #expect(!text.contains("secret"))
      #expect(text.contains("SWERVE_PORT") && text.contains("HF_TOKEN"))
    }
    let json = try JSON(parsing: JSON.object(report.json).text)
    for section in ["swerve", "system", "cpu", "memory", "devices", "limits", "environment"] {
      #expect(json[section]?.object?.isEmpty == false, "\(section)")
    }
  }

  @Test func collectEnvPrintsBothForms() async throws {
    #expect(await run("collect-env") == .success)
    #expect(record.output.hasPrefix("swerve:\n"))
    #expect(await run("collect-env", "--json") == .success)
  }
}

@Suite struct ChatSessionTests {
  let record = ConsoleRecord()

  func session(_ engine: FakeEngine, mode: ChatSession.Mode = .chat) -> ChatSession {
    var settings = ChatSettings()
    settings.maxTokens = 2
    settings.systemPrompt = "system"
    let backend = EngineBackend(client: engine, modelName: "fake", settings: settings)
    return ChatSession(backend: backend, mode: mode, settings: settings, console: record.console())
  }

  /// Lines one after another, then the end of input.
  func lines(_ lines: String...) -> @Sendable () async -> String? {
    let rest = Mutex(lines[...])
    return { rest.withLock { $0.popFirst() } }
  }

  func conversations(_ engine: FakeEngine) -> [[String?]] {
    engine.requests.map { request in
      guard case .chat(let chat) = request.prompt else { return [] }
      return chat.messages.map { $0["content"]?.string }
    }
  }

  @Test func theConversationGrowsAndIsForgotten() async throws {
    let engine = FakeEngine()
    try await session(engine).run(readLine: lines("one", "", "two", "/clear", "three", "/stats", "/exit", "never"))
    #expect(
      conversations(engine) == [
        ["system", "one"], ["system", "one", "t0 t1 ", "two"], ["system", "three"],
      ])
    #expect(record.output.contains("(cleared)") && record.output.contains("answers: 3"))
  }

  @Test func anUnknownCommandIsNoQuestion() async throws {
    let engine = FakeEngine()
    try await session(engine).run(readLine: lines("/clera"))
    #expect(engine.requests.isEmpty && record.output.contains("no such command"))
  }

  @Test func aFailedCompletionDoesNotEndTheProgram() async throws {
    let engine = FakeEngine()
    try await session(engine, mode: .complete).run(readLine: lines("fail", "go on"))
    #expect(engine.requests.count == 2)
    #expect(record.errors.contains("this prompt fails."))
  }

  @Test func anInterruptStopsTheAnswerAndNotTheConversation() async throws {
    let engine = FakeEngine(delay: .seconds(3600))
    let session = session(engine)
    let asking = Task { try await session.ask("one") }
    while !session.interrupt() { await Task.yield() }
    try await asking.value
    #expect(!session.interrupt())
    #expect(record.output.contains("(stopped)"))
  }
}
