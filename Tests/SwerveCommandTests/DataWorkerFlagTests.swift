import Foundation
import SwerveAccess
import SwerveCommand
import SwerveCore
import Testing

/// Flags of data workers.
@Suite struct DataWorkerFlagTests {
  @Test func `data workers are asked for by placement, number and devices`() throws {
    let unified = try parse([]).settings.engine
    #expect(unified.placement == .unified)
    #expect(try parse(["--placement", "separated"]).settings.engine.dataWorkers.count == 1)
    for arguments in [["--data-workers", "2"], ["--data-devices", "cpu,cpu", "--parameter-devices", "cpu"]] {
      let engine = try parse(arguments).settings.engine
      #expect(engine.placement == .separated && engine.dataWorkers.count == 2)
      #expect(engine.dataWorkers.launch == .process(path: "/proc/self/exe", arguments: ["data-worker"]))
      #expect(!engine.dataWorkers.version.isEmpty)
    }
    let more = try parse(["--data-workers", "1", "--max-data-workers", "7", "--data-worker-timeout", "2.5"]).settings
    #expect(more.engine.dataWorkers.maximum == 7 && more.engine.dataWorkers.deadline == 2.5)
  }

  @Test func `a device may name its CPUs`() throws {
    let engine = try parse([
      "--parameter-devices", "cpu:0-3", "--data-devices", "cpu:4-5+8,cpu",
    ]).settings.engine
    #expect(engine.parameterDevices == [[0, 1, 2, 3]])
    #expect(engine.dataWorkers.cpus == [[4, 5, 8], nil] && engine.dataWorkers.count == 2)
  }

  @Test func `parameters may be shared among ranks, or gathered`() throws {
    for arguments in [["-tp", "2"], ["--placement", "tensor", "-tp", "2"], ["--placement", "auto", "-tp", "2"]] {
      let engine = try parse(arguments + ["--data-workers", "2"]).settings.engine
      #expect(engine.placement == .separated && engine.dataWorkers.count == 2 && engine.tensorParallelSize == 2)
    }
    let devices = try parse([
      "-tp", "2", "--parameter-devices", "cpu:0,cpu:1", "--data-devices", "cpu:2-3,cpu:4-6,cpu:7",
    ]).settings.engine
    #expect(devices.parameterDevices == [[0], [1]] && devices.dataWorkers.count == 3)
    #expect(devices.dataWorkers.cpus(of: 1, among: 2) == [[3], [5, 6], [7]])
    let gathered = try parse(["--placement", "gathered", "--data-devices", "cpu"]).settings.engine
    #expect(gathered.placement == .separated && gathered.gathering?.source == .nvme)
    let stages = try parse(["--placement", "separated", "-pp", "2"]).settings.engine
    #expect(stages.placement == .separated && stages.pipelineParallelSize == 2)
  }

  @Test func `what does not fit together is refused`() {
    for (arguments, word) in [
      (["--placement", "unified", "--data-workers", "2"], "--placement separated"),
      (["--data-workers", "2", "--data-devices", "cpu"], "as many of each"),
      (["--data-workers", "0"], "--data-workers must be between"),
      (["--data-devices", "cuda:0"], "there is no device"),
      (["--parameter-devices", "cpu,cpu"], "names 2 devices and the weights are with 1 rank;"),
      (["--parameter-devices", "cpu:"], "cpu:0-7"),
      (["--parameter-devices", "cpu:3-1"], "cpu:0-7"),
      (["--parameter-devices", "cpu:0-1", "--threads", "3"], "--threads 3 is more than the 2 CPUs"),
      (["--parameter-devices", "cpu:0-1", "--numa-bind"], "--numa-bind-cpus"),
      (["--parameter-devices", "cpu:0-1", "-tp", "2"], "names 1 devices and the weights are with 2 ranks"),
      (["--parameter-devices", "cpu:0-1,cpu", "-tp", "2"], "of all ranks"),
      (["--parameter-devices", "cpu:0,cpu:1", "-tp", "2", "--threads", "2"], "on each of its CPUs"),
      (["--data-devices", "cpu:0", "--data-workers-at", "a:1"], "taskset"),
      (["--data-devices", "cpu:0", "--placement", "pipeline-pd", "-pp", "2"], "with pipeline-pd use cpu"),
      (["--data-workers-at", "a:1", "--kv-tiers", "host=1GiB"], "--kv-tiers"),
      (["--data-workers-at", "a:1", "-tp", "2"], "use --data-workers, not --data-workers-at"),
      (["--data-workers", "1", "-tp", "2", "--max-data-workers", "3"], "leave --max-data-workers out"),
      (["--data-devices", "cpu:0", "-pp", "2"], "or of none"),
      (["--data-workers", "1", "--placement", "gathered", "--micro-batches", "2"], "more than once a step"),
      (["--data-workers", "3", "--max-data-workers", "2"], "--max-data-workers"),
    ] {
      #expect(problems(arguments).contains { $0.contains(word) }, "\(arguments): \(problems(arguments))")
    }
  }

  @Test func `workers of other hosts are asked for by address`() throws {
    let engine = try parse(["--data-workers-at", "10.0.0.2:8500,data-1:8500"]).settings.engine
    #expect(engine.placement == .separated && engine.dataWorkers.count == 2)
    #expect(engine.dataWorkers.addresses == ["10.0.0.2:8500", "data-1:8500"])
    #expect(try parse(["--data-workers-at", "a:1", "--data-workers", "3"]).settings.engine.dataWorkers.count == 3)
    let links = try parse([
      "--data-workers-at", "a:1", "--tls-certificate", "c.pem", "--tls-key", "c.key", "--tls-ca", "ca.pem",
      "--link-encryption", "off", "--trusted-network", "--data-worker-connect-timeout", "3",
    ]).settings.engine.dataWorkers
    #expect(links.links.certificate == "c.pem" && links.links.key == "c.key" && links.links.authority == "ca.pem")
    #expect(links.links.encryption == "none" && links.links.trustsNetwork && links.connectSeconds == 3)
    for (arguments, word) in [
      (["--data-workers-at", "a:1,b:1", "--data-workers", "1"], "--data-workers-at names 2 workers"),
      (["--data-workers-at", "a:1", "--placement", "unified"], "--placement separated"),
      (["--data-workers-at", "a:1", "--tls-key", "k"], "--tls-certificate and --tls-ca is missing"),
      (["--data-workers-at", "a:1", "--link-encryption", "rot13"], "--link-encryption"),
      (["--data-workers-at", "a:1", "--data-worker-connect-timeout", "0"], "--data-worker-connect-timeout"),
    ] {
      #expect(problems(arguments).contains { $0.contains(word) }, "\(arguments): \(problems(arguments))")
    }
  }
}

/// `swerve data-worker` and `swerve certs`, as far as they say what is missing, and the files they make.
@Suite struct LinkCommandTests {
  private func run(_ arguments: [String]) async -> (code: ExitCode, output: String, errors: String) {
    let record = ConsoleRecord()
    let wiring = Wiring(
      engines: FakeEngines(), serve: { _, _, _ in }, lines: EchoLines(), benchKernels: { _, _ in })
    let code = await SwerveMain.run(
      arguments, context: CommandContext(wiring: wiring, environment: [:], console: record.console()))
    return (code, record.output, record.errors)
  }

  @Test func `a data worker that may not listen says what is missing`() async {
    for (words, sentence) in [
      (["--threads", "1"], "needs --listen HOST:PORT"), (["--listen", "nonsense"], "--listen must be host:port"),
      (["--listen", "192.0.2.1:1"], "--trusted-network"),
      (["--listen", "127.0.0.1:0", "--tls-key", "k"], "--tls-certificate and --tls-ca is missing"),
      (
        ["--listen", "127.0.0.1:0", "--tls-key", "k", "--tls-certificate", "/nowhere", "--tls-ca", "a"],
        "/nowhere cannot be read"
      ),
      (["--listen", "127.0.0.1:0", "--link-encryption", "aes-gcm"], "needs certificates"),
      (["extra", "--listen", "a:1"], "extra"),
    ] {
      let result = await run(["data-worker"] + words)
      #expect(result.code != .success && result.errors.contains(sentence), "\(words): \(result.errors)")
      #expect(result.errors.split(separator: "\n").count == 1)
    }
  }

  @Test func `the server speaks https with a certificate`() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swerve-https-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(await run(["certs", "init", "--out", folder]).code == .success)
    try await StoryServer.run(server: {
      $0.tls.certificate = "\(folder)/parameter.pem"
      $0.tls.key = "\(folder)/parameter.key"
    }) { server in
      #expect(server.url.hasPrefix("https://"))
      let trusting = try OpenAIClient(url: server.url, apiKey: nil, insecure: true)
      #expect(try await trusting.models() == ["story"])
      try await trusting.shutdown()
      let careful = try OpenAIClient(url: server.url, apiKey: nil)
      await #expect(throws: (any Error).self) { try await careful.models() }
      try await careful.shutdown()
      let plain = try OpenAIClient(url: server.url.replacing("https", with: "http"), apiKey: nil)
      await #expect(throws: (any Error).self) { try await plain.models() }
      try await plain.shutdown()
    }
    // Clients must show a certificate, and this one has none.
    try await StoryServer.run(server: {
      $0.tls.certificate = "\(folder)/parameter.pem"
      $0.tls.key = "\(folder)/parameter.key"
      $0.tls.authorities = "\(folder)/ca.pem"
      $0.tls.requirement = 2
    }) { server in
      let client = try OpenAIClient(url: server.url, apiKey: nil, insecure: true)
      await #expect(throws: (any Error).self) { try await client.models() }
      try await client.shutdown()
    }
    for (words, sentence) in [
      (["--ssl-certfile", "c"], "one of them is missing"), (["--ssl-cert-reqs", "2"], "need --ssl-certfile"),
      (["--ssl-certfile", "c", "--ssl-keyfile", "k", "--ssl-cert-reqs", "7"], "must be 0"),
    ] { #expect(problems(words).contains { $0.contains(sentence) }, "\(words): \(problems(words))") }
    var missing = ServerTLS()
    (missing.certificate, missing.key) = ("/nowhere.pem", "/nowhere.key")
    #expect { try missing.check() } throws: { "\($0)".contains("/nowhere.pem") && !"\($0)".contains("\n") }
  }

  @Test func `certificates are made, shown and not replaced`() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "swerve-certs-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let made = await run(["certs", "init", "--out", folder, "--cluster", "c7", "--hosts", "10.0.0.2,data-1"])
    #expect(made.code == .success, "\(made.errors)")
    for file in ["ca", "parameter", "data-10.0.0.2", "data-data-1"] {
      #expect(FileManager.default.fileExists(atPath: "\(folder)/\(file).pem"), "\(file)")
      let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(file).key")[.posixPermissions] as? Int
      #expect(mode == 0o600)
    }
    #expect(await run(["certs", "init", "--out", folder]).errors.contains("exists already"))
    let issued = await run(["certs", "issue", "--out", folder, "--role", "router", "--name", "r0", "--days", "2"])
    #expect(issued.code == .success && issued.output.contains("router-r0.pem"), "\(issued.errors)")
    let shown = await run(["certs", "show", "\(folder)/router-r0.pem"])
    #expect(shown.output.contains("role: router") && shown.output.contains("cluster: c7"), "\(shown.output)")
    for (words, sentence) in [
      (["issue", "--out", folder, "--name", "x"], "needs --role"),
      (["issue", "--out", folder, "--role", "data"], "needs --name"),
      (["issue", "--out", folder, "--role", "king", "--name", "x"], "--role"),
      (["issue", "--out", "/nowhere", "--role", "data", "--name", "x"], "/nowhere/ca.pem cannot be read"),
      (["issue", "--out", folder, "--role", "data", "--name", "x", "--days", "0"], "--days"), ([], "needs what to do"),
      (["show", "/nowhere"], "/nowhere cannot be read"),
    ] {
      let result = await run(["certs"] + words)
      #expect(result.code == .usage && result.errors.contains(sentence), "\(words): \(result.errors)")
    }
  }
}
