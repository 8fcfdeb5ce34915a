import Logging
import SwerveAccess
import SwerveCommand
import SwerveCore
import SwerveEngine
import SwerveRouter
import Testing

/// Two servers and a router in front of them: the answers of one server, over the wire, with the prompts' blocks having
/// gone from one to the other.
@Suite(.serialized) struct RouterTests {
  static func role(_ role: KVTransferConfiguration.Role) -> @Sendable (inout EngineConfiguration) -> Void {
    {
      var transfer = KVTransferConfiguration(role: role)
      transfer.port = 0
      transfer.bufferBytes = 64 << 20
      $0.kvTransfer = transfer
    }
  }

  /// A router in front of servers, on a free port.
  static func route(
    prefill: [String], decode: [String], keys: [String] = [],
    body: @escaping @Sendable (OpenAIClient) async throws -> Void
  ) async throws {
    var configuration = RouterConfiguration()
    configuration.host = "127.0.0.1"
    configuration.port = 0
    configuration.prefill = prefill
    configuration.decode = decode
    configuration.apiKeys = keys
    configuration.connectSeconds = 2
    let (ports, found) = AsyncStream.makeStream(of: Int.self)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let router = RouterServer(configuration, logger: logger) { port in
      found.yield(port ?? 0)
      found.finish()
    }
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask {
        defer { found.finish() }
        try await router.run()
      }
      var iterator = ports.makeAsyncIterator()
      let port = try #require(await iterator.next())
      let client = try OpenAIClient(url: "http://127.0.0.1:\(port)", apiKey: keys.first)
      let outcome: Result<Void, any Error>
      do { outcome = .success(try await body(client)) } catch { outcome = .failure(error) }
      try await client.shutdown()
      tasks.cancelAll()
      while let result = await tasks.nextResult() { _ = result }
      try outcome.get()
    }
  }

  static let prompt = String(repeating: "Once upon a time there was a little mouse who lived near a river. ", count: 6)

  static func completion(_ change: (inout JSONObject) -> Void = { _ in }) -> JSON {
    var body: JSONObject = [
      "model": "story", "prompt": .string(prompt), "max_tokens": 20, "temperature": 0.8, "seed": 11, "logprobs": 2,
    ]
    change(&body)
    return .object(body)
  }

  private static func choices(_ answer: JSON) -> JSON? { answer["choices"] }

  @Test func `answers through a router are those of one server`() async throws {
    try await StoryServer.run { alone in
      try await StoryServer.run(Self.role(.producer)) { prefill in
        try await StoryServer.run(Self.role(.consumer)) { decode in
          try await Self.route(prefill: [prefill.url], decode: [decode.url]) { router in
            for change in [{ _ in }, { $0["n"] = 2 }, { $0["temperature"] = 0 }]
              as [@Sendable (inout JSONObject) -> Void]
            {
              let body = Self.completion(change)
              let expected = try await alone.client { try await $0.post("/v1/completions", body) }
              let answer = try await router.post("/v1/completions", body)
              #expect(Self.choices(answer) == Self.choices(expected))
              #expect((answer["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.int ?? 0) > 0)
            }
            // Two prompts of one request have a transfer each.
            let two = Self.completion {
              $0["prompt"] = .array([.string(Self.prompt + "A"), .string("Not so. " + Self.prompt)])
            }
            let expected = try await alone.client { try await $0.post("/v1/completions", two) }
            let answer = try await router.post("/v1/completions", two)
            #expect(Self.choices(answer) == Self.choices(expected))
            // A stream of chunks.
            let chat: JSON = [
              "model": "story", "messages": [["role": "user", "content": .string(Self.prompt)]], "max_tokens": 12,
              "temperature": 0, "stream": true,
            ]
            func text(_ client: OpenAIClient) async throws -> (String, Int) {
              var text = ""
              var chunks = 0
              try await client.stream("/v1/chat/completions", body: chat) {
                chunks += 1
                text += $0["choices"]?[0]?["delta"]?["content"]?.string ?? ""
              }
              return (text, chunks)
            }
            let plain = try await alone.client { try await text($0) }
            let routed = try await text(router)
            #expect(routed == plain && !plain.0.isEmpty && plain.1 > 3)
            #expect(try await router.models() == ["story"])
            let metrics = try await router.text("/metrics")
            #expect(metrics.contains("swerve_router_prompts_total{result=\"handed_over\"} 5"), "\(metrics)")
          }
          let received = try #require(decode.engine.statistics.transfer)
          #expect(received.received == 6 && received.hitTokens > 0 && received.failures.isEmpty, "\(received)")
          let metrics = try await decode.client { try await $0.text("/metrics") }
          #expect(metrics.contains("swerve_kv_transfers_total{"))
          #expect(!metrics.contains("external_kv_transfer\"} 0"))
        }
        // Counted when the other side says that it came, which may be after the answer.
        for _ in 0..<1000 where prefill.engine.statistics.transfer?.sent != 6 {
          try await Task.sleep(for: .milliseconds(10))
        }
        #expect(prefill.engine.statistics.transfer?.sent == 6)
      }
    }
  }

  @Test func `servers that are gone are done without`() async throws {
    try await StoryServer.run(Self.role(.both)) { server in
      let body = Self.completion()
      let expected = try await server.client { try await $0.post("/v1/completions", body) }
      // No prefill server answers: the decode server computes the prompt.
      try await Self.route(prefill: ["http://127.0.0.1:1"], decode: [server.url], keys: ["k"]) { router in
        let answer = try await router.post("/v1/completions", body)
        #expect(Self.choices(answer) == Self.choices(expected))
        let metrics = try await router.text("/metrics")
        #expect(metrics.contains("swerve_router_prompts_total{result=\"unreachable\"} 1"))
      }
      // The first decode server is gone; the same server is both roles.
      try await Self.route(prefill: [server.url], decode: ["http://127.0.0.1:1", server.url]) { router in
        for _ in 0..<2 {
          let answer = try await router.post("/v1/completions", body)
          #expect(Self.choices(answer) == Self.choices(expected))
        }
        let metrics = try await router.text("/metrics")
        #expect(metrics.contains("result=\"handed_over\"} 2"))
        _ = try await router.text("/health")
      }
      // Nobody is there.
      try await Self.route(prefill: [server.url], decode: ["http://127.0.0.1:1"]) { router in
        await #expect {
          _ = try await router.post("/v1/completions", body)
        } throws: {
          "\($0)".contains("http://127.0.0.1:1") && "\($0)".contains("503") || "\($0)".contains("No decode server")
        }
      }
    }
  }

  @Test func `parameters of a transfer are echoed and pulled`() async throws {
    try await StoryServer.run(Self.role(.producer)) { prefill in
      try await StoryServer.run(Self.role(.consumer)) { decode in
        // As routers of other engines do it: the prefill server is told nothing of the decode server.
        let prompt = Self.completion {
          $0["max_tokens"] = 1
          $0["kv_transfer_params"] = [
            "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": nil, "remote_block_ids": nil,
            "remote_host": nil, "remote_port": nil,
          ]
        }
        let answer = try await prefill.client { try await $0.post("/v1/completions", prompt) }
        let params = try #require(answer["kv_transfer_params"]?.object)
        #expect(params["do_remote_prefill"] == true && params["remote_host"]?.string == "127.0.0.1")
        #expect((params["remote_block_ids"]?.array?.count ?? 0) > 3)
        let expected = try await prefill.client { try await $0.post("/v1/completions", Self.completion()) }
        let body = Self.completion { $0["kv_transfer_params"] = .object(params) }
        let decoded = try await decode.client { try await $0.post("/v1/completions", body) }
        #expect(Self.choices(decoded) == Self.choices(expected))
        #expect(decoded["kv_transfer_params"] == .object(params))
        #expect(decode.engine.statistics.transfer?.received == 1)
        // A stream ends with them, too.
        var last: JSON?
        let streamed = Self.completion {
          $0["max_tokens"] = 1
          $0["stream"] = true
          $0["kv_transfer_params"] = ["do_remote_decode": true]
        }
        try await prefill.client { client in
          try await client.stream("/v1/completions", body: streamed) { event in
            if let found = event["kv_transfer_params"] { last = found }
          }
        }
        #expect(last?["do_remote_prefill"] == true)
        for (bad, word) in [
          (["do_remote_decode": 1] as JSONObject, "boolean"),
          (["do_remote_decode": true, "do_remote_prefill": true], "exclude each other"),
          (["do_remote_decode": true, "remote_host": "x"], "together"),
          (["do_remote_decode": true, "remote_host": "x", "remote_port": 0], "between"),
        ] {
          let body = Self.completion { $0["kv_transfer_params"] = .object(bad) }
          await #expect {
            _ = try await prefill.client { try await $0.post("/v1/completions", body) }
          } throws: { "\($0)".contains(word) }
        }
      }
    }
  }
}
