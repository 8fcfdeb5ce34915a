import SwerveCommand
import SwerveCore
import SwerveEngine
import Synchronization
import Testing

@Suite struct TopTests {
  /// A page of a server with a device and two lower tiers.
  private static func page(
    used: Int = 10, prompt: Int = 1_000, generation: Int = 500, seconds: Double = 5,
    parameters: String = "1.048576e+09",
    steps: Int = 100
  ) -> String {
    """
    # HELP vllm:num_requests_running Requests in execution.
    # TYPE vllm:num_requests_running gauge
    vllm:num_requests_running{model_name="a \\"b\\" c",engine="0"} 2.0
    vllm:num_requests_waiting{model_name="a \\"b\\" c",engine="0"} 1.0
    vllm:prompt_tokens_total{model_name="m",engine="0"} \(prompt)
    vllm:generation_tokens_total{model_name="m",engine="0"} \(generation)
    vllm:prefix_cache_queries_total{model_name="m",engine="0"} \(prompt)
    vllm:prompt_tokens_cached_by_source_total{model_name="m",engine="0",source="device"} \(prompt / 4)
    vllm:prompt_tokens_cached_by_source_total{model_name="m",engine="0",source="host"} \(prompt / 8)
    vllm:prompt_tokens_cached_by_source_total{model_name="m",engine="0",source="p2p"} 0
    vllm:num_preemptions_total{model_name="m",engine="0"} 3
    swerve_steps_total{model_name="m",engine="0"} \(steps)
    process_start_time_seconds 1000
    swerve_worker_info{worker="g0.0",role="unified",device="cpu:0-3"} 1
    swerve_worker_memory_bytes{worker="g0.0",role="unified",kind="parameters"} \(parameters)
    swerve_worker_memory_bytes{worker="g0.0",role="unified",kind="kv"} 1.048576e+08
    swerve_worker_memory_bytes{worker="g0.0",role="unified",kind="scratch"} 1
    swerve_kv_blocks{worker="g0.0",tier="device",state="used"} \(used)
    swerve_kv_blocks{worker="g0.0",tier="device",state="cached"} 30
    swerve_kv_blocks{worker="g0.0",tier="device",state="free"} \(70 - used)
    swerve_kv_blocks{worker="g0.0",tier="host",state="cached"} 200
    swerve_kv_blocks{worker="g0.0",tier="host",state="free"} 824
    swerve_kv_blocks{worker="g0.0",tier="nvme",state="cached"} 0
    swerve_kv_bytes_read_total{tier="device"} 2e+09
    swerve_kv_spill_bytes_total{from="device",to="host"} 4e+08
    swerve_step_seconds_total{worker="g0.0"} \(seconds)
    swerve_sequences{state="running"} 5
    swerve_sequences{state="parked"} 2
    swerve_sequences{state="waiting"} 1
    swerve_sequences{state="recovering"} 0
    some_histogram_bucket{le="+Inf"} +Inf
    """
  }

  private func snapshot(_ text: String, at time: Double) throws -> TopSnapshot {
    try TopSnapshot(try MetricsPage(text), time: time, unixTime: 1_010 + time)
  }

  @Test func theFirstViewShowsEverythingSinceTheStart() throws {
    var view = TopView(url: "http://host:8000")
    let lines = view.lines(try snapshot(Self.page(), at: 0))
    #expect(
      lines == [
        #"http://host:8000  a "b" c  up 0:10  rates since the start"#,
        "",
        "WORKER  ROLE     DEVICE   PARAMS      KV used/total         HOST       NVME  READ/s    BUSY",
        "g0.0    unified  cpu:0-3  1000.0 MiB  10.0 MiB / 100.0 MiB  200.0 MiB  0 B   200 MB/s  50%",
        "",
        "TIER    USED      CACHED     FREE       TOTAL      READ/s",
        "device  10.0 MiB  30.0 MiB   60.0 MiB   100.0 MiB  200 MB/s",
        "host    0 B       200.0 MiB  824.0 MiB  1.00 GiB   -",
        "nvme    0 B       0 B        0 B        0 B        -",
        "",
        "parameters: 1000.0 MiB",
        "sequences: 5 running, 2 parked, 1 waiting   requests: 2 running, 1 waiting",
        "tokens/s: 100.0 prompt, 50.0 generated   steps/s: 10.0   preemptions/s: 0.30",
        "prefix hits: 37.5% of prompt tokens looked up (device 25.0%, host 12.5%)",
        "spill: device->host 40 MB/s",
      ],
      "\n\(lines.joined(separator: "\n"))")
  }

  @Test func laterViewsShowWhatChangedAndThatParametersDidNot() throws {
    var view = TopView(url: "u")
    _ = view.lines(try snapshot(Self.page(), at: 0))
    let lines = view.lines(
      try snapshot(Self.page(used: 20, prompt: 1_800, generation: 540, seconds: 5.5, steps: 104), at: 2))
    #expect(lines[0].hasSuffix("rates over 2.0 s"))
    #expect(lines.contains("parameters: constant since this view began 0:02 ago (delta 0 B)"))
    #expect(lines.contains("tokens/s: 400.0 prompt, 20.0 generated   steps/s: 2.0   preemptions/s: 0.00"))
    #expect(lines.contains { $0.hasPrefix("g0.0") && $0.contains("20.0 MiB / 100") && $0.hasSuffix("25%") })
    let grown = view.lines(try snapshot(Self.page(parameters: "1.048577e+09"), at: 4))
    #expect(grown.contains { $0.hasPrefix("parameters: changed since this view began 0:04 ago (delta +") }, "\(grown)")
  }

  /// Parameters here, keys and values with a worker, tiers below it.
  @Test func tiersBelowDataWorkersAreARowOfTheirOwn() throws {
    let text = """
      vllm:num_requests_running{model_name="m",engine="0"} 3
      swerve_steps_total{model_name="m",engine="0"} 10
      process_start_time_seconds 1000
      swerve_worker_memory_bytes{worker="g0.0",role="parameter",kind="parameters"} 1.048576e+09
      swerve_worker_memory_bytes{worker="g0.0",role="parameter",kind="kv"} 0
      swerve_worker_memory_bytes{worker="host",role="tiers",kind="parameters"} 0
      swerve_worker_memory_bytes{worker="host",role="tiers",kind="kv"} 2.097152e+08
      swerve_worker_memory_bytes{worker="d0",role="data",kind="parameters"} 0
      swerve_worker_memory_bytes{worker="d0",role="data",kind="kv"} 1.048576e+08
      swerve_kv_blocks{worker="g0.0",tier="device",state="used"} 0
      swerve_kv_blocks{worker="d0",tier="device",state="used"} 40
      swerve_kv_blocks{worker="d0",tier="device",state="free"} 60
      swerve_kv_blocks{worker="host",tier="host",state="cached"} 180
      swerve_kv_blocks{worker="host",tier="host",state="used"} 10
      swerve_kv_running_blocks{worker="host",tier="host",state="used"} 10
      swerve_kv_blocks{worker="host",tier="nvme",state="cached"} 400
      swerve_kv_block_bytes{tier="device"} 1048576
      swerve_kv_block_bytes{tier="host"} 1048576
      swerve_kv_block_bytes{tier="nvme"} 1048576
      swerve_step_seconds_total{worker="d0"} 2.5
      swerve_sequences{state="running"} 3
      swerve_sequences{state="parked"} 9
      """
    var view = TopView(url: "u")
    let lines = view.lines(try snapshot(text, at: 0))
    #expect(
      Array(lines[2...5]) == [
        "WORKER  ROLE       DEVICE  PARAMS      KV used/total         HOST       NVME       READ/s  BUSY",
        "g0.0    parameter  -       1000.0 MiB  0 B / 0 B             -          -          0 B/s   0%",
        "host    tiers      -       0 B         -                     200.0 MiB  400.0 MiB  -       -",
        "d0      data       -       0 B         40.0 MiB / 100.0 MiB  -          -          -       25%",
      ], "\n\(lines.joined(separator: "\n"))")
    #expect(lines.contains { $0.hasPrefix("sequences: 3 running, 9 parked") })
  }

  @Test func aServerThatStartedAnewCountsFromNothing() throws {
    var view = TopView(url: "u")
    _ = view.lines(try snapshot(Self.page(prompt: 1_000_000, steps: 5_000), at: 0))
    let lines = view.lines(try snapshot(Self.page(prompt: 100, generation: 10, steps: 4), at: 10))
    #expect(lines.contains { $0.hasPrefix("tokens/s: 10.0 prompt, 1.0 generated") }, "\(lines)")
  }

  @Test func aWindowShowsWhatFits() {
    let lines = ["abcdef", "ghi", "jkl"]
    #expect(TopView.fitted(lines, columns: 4, rows: 2) == ["abcd", "ghi"])
    #expect(TopView.fitted(lines, columns: 0, rows: 0) == ["a"])
  }

  @Test(arguments: ["<html>", "name{a=1} 2", "name{a=\"x} 2", "name", "name{} x", "a{b=\"c\\"])
  func whatIsNoPageIsRefused(_ text: String) {
    #expect(throws: RemoteError.self) { try MetricsPage(text) }
  }

  @Test func anotherServersPageIsRefused() throws {
    let page = try MetricsPage("up 1\nvllm:num_requests_running{model_name=\"m\"} 0\n")
    #expect(throws: RemoteError.badAnswer("it has no metrics of workers; is this a swerve server?")) {
      try TopSnapshot(page, time: 0, unixTime: 0)
    }
  }

  private func run(_ words: [String], _ record: ConsoleRecord) async -> ExitCode {
    let wiring = Wiring(
      engines: FakeEngines(), serve: { _, _, _ in }, lines: EchoLines(), benchKernels: { _, _ in })
    return await SwerveMain.run(
      words, context: CommandContext(wiring: wiring, environment: [:], console: record.console()))
  }

  @Test func aServerThatIsNotThereEndsOneLookWithASentence() async {
    let record = ConsoleRecord()
    #expect(await run(["top", "--once", "--url", "http://127.0.0.1:9"], record) == .internalError)
    #expect(record.output.isEmpty)
    #expect(
      record.errors
        == "swerve: error: cannot reach http://127.0.0.1:9 (connection refused); is the server running?\n")
    #expect(await run(["top", "--interval", "0"], record) == .usage)
    #expect(await run(["top", "--url", "host:1"], record) == .usage)
    #expect(await run(["top", "more"], record) == .usage)
  }

  /// A started server over HTTP: idle, then after a request.
  @Test func aStartedServerIsShown() async throws {
    try await StoryServer.run { server in
      func look() async -> String {
        let record = ConsoleRecord()
        #expect(await run(["top", "--once", "--url", server.url], record) == .success, "\(record.errors)")
        return record.output
      }
      let idle = await look()
      let parameters = Format.bytes(server.engine.statistics.weightBytes)
      let total = Format.bytes(server.engine.statistics.kvBytes)
      #expect(server.engine.statistics.weightBytes > 1 << 20)
      let row = idle.split(separator: "\n").first { $0.hasPrefix("g0.0") }.map(String.init) ?? ""
      #expect(row.contains("unified  cpu:") && row.contains(parameters) && row.contains("0 B / \(total)"), "\(idle)")
      #expect(idle.contains("sequences: 0 running, 0 parked, 0 waiting   requests: 0 running, 0 waiting\n"))
      #expect(!idle.contains("HOST") && !idle.contains("spill"))
      try await server.client { client in
        for _ in 0..<2 {
          _ = try await client.post(
            "/v1/completions", ["prompt": "Once upon a time there was a fox who", "max_tokens": 30, "temperature": 0])
        }
      }
      let after = await look()
      let device = after.split(separator: "\n").first { $0.hasPrefix("device") } ?? ""
      // What was computed is kept to be found again, and the second request found it.
      let columns = device.split(separator: "  ").map { String($0.drop { $0 == " " }) }
      #expect(columns.count == 6 && columns[1] == "0 B" && columns[2] != "0 B", "\(after)")
      #expect(after.contains("(device ") && !after.contains("tokens/s: 0.0 prompt"), "\(after)")
      #expect(after.contains(parameters))
    }
  }

  @Test func aLiveViewFitsTheWindowAndOutlivesTheServer() async throws {
    let record = ConsoleRecord()
    let windows = Mutex([TerminalSize(columns: 60, rows: 6), TerminalSize(columns: 20, rows: 3)])
    let frames = Mutex(0)
    try await StoryServer.run { server in
      var settings = TopSettings()
      settings.url = server.url
      settings.interval = 0.1
      let client = try OpenAIClient(url: server.url, apiKey: nil)
      let loop = TopLoop(client: client, settings: settings, console: record.console()) {
        frames.withLock { $0 += 1 }
        return windows.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
      }
      let watching = Task { try await loop.run() }
      while frames.withLock({ $0 }) < 3 { try await Task.sleep(for: .milliseconds(20)) }
      watching.cancel()
      try await watching.value
      try await client.shutdown()
    }
    let shown = record.output.split(separator: "\u{1B}[H").map { $0.replacing("\u{1B}[K", with: "") }
    #expect(shown.count >= 3)
    #expect(shown[0].split(separator: "\n", omittingEmptySubsequences: false).count == 6)
    #expect(shown[1].split(separator: "\n").allSatisfy { $0.count <= 20 })
    // Nobody answers at that address any more.
    var gone = TopSettings()
    gone.url = "http://127.0.0.1:9"
    gone.interval = 0.1
    let client = try OpenAIClient(url: gone.url, apiKey: nil)
    let silent = ConsoleRecord()
    let loop = TopLoop(client: client, settings: gone, console: silent.console(), size: { nil })
    let watching = Task { try await loop.run() }
    while silent.output.ranges(of: "Asking again").count < 3 {
      try await Task.sleep(for: .milliseconds(20))
    }
    watching.cancel()
    try await watching.value
    try await client.shutdown()
    #expect(
      silent.output.hasPrefix(
        "cannot reach http://127.0.0.1:9 (connection refused); is the server running? Asking again every 0.1 s.\n"))
  }
}
