import SwerveCommand
import SwerveCore
import Testing

/// The prefix cache as clients see it, over HTTP and with a model.
@Suite struct PrefixCacheServingTests {
  private static let prefix =
    "Once upon a time there was a king who had three daughters, and the youngest of them was so fair that the sun "
    + "himself, who had seen so many things, wondered whenever he shone upon her face. "

  private func complete(
    _ client: OpenAIClient, _ prompt: String, salt: String? = nil
  ) async throws -> (text: String, cached: Int, prompt: Int) {
    var body: JSONObject = ["prompt": .string(prompt), "max_tokens": 12, "temperature": 0]
    if let salt { body["cache_salt"] = .string(salt) }
    let answer = try await client.post("/v1/completions", .object(body))
    return (
      answer["choices"]?[0]?["text"]?.string ?? "",
      answer["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.int ?? 0,
      answer["usage"]?["prompt_tokens"]?.int ?? 0
    )
  }

  private func cached(_ client: OpenAIClient) async throws -> [String: Double] {
    let page = try MetricsPage(try await client.text("/metrics"))
    return page.samples("vllm:prompt_tokens_cached_by_source_total").reduce(into: [:]) {
      $0[$1.labels["source"] ?? ""] = $1.value
    }
  }

  @Test func hitsAreCountedBySourceAndChangeNothing() async throws {
    try await StoryServer.run { server in
      try await server.client { client in
        let first = try await complete(client, Self.prefix + "One day a fox")
        #expect(first.cached == 0)
        let second = try await complete(client, Self.prefix + "One day a fox")
        #expect(second.text == first.text)
        // All but the last token, to the token: blocks are found whole, the last one by its beginning.
        #expect(second.cached == second.prompt - 1)
        let other = try await complete(client, Self.prefix + "But the crow")
        #expect(other.cached >= 30 && other.cached < other.prompt)
        #expect(try await cached(client)["device"] == Double(second.cached + other.cached))
        for source in ["host", "disk", "p2p"] { #expect(try await cached(client)[source] == 0) }
        let page = try MetricsPage(try await client.text("/metrics"))
        #expect(page.sum("swerve_prefix_copied_tokens_total") ?? 0 > 0)
        #expect(page.sum("vllm:prefix_cache_hits_total") == Double(second.cached + other.cached))
        #expect(
          page.sum("vllm:prompt_tokens_by_source_total", ["source": "local_compute"])
            == Double(first.prompt + 1 + other.prompt - other.cached))
      }
    }
  }

  @Test func aSaltKeepsTenantsApart() async throws {
    try await StoryServer.run { server in
      try await server.client { client in
        let plain = try await complete(client, Self.prefix + "One day")
        let salted = try await complete(client, Self.prefix + "One day", salt: "tenant-a")
        #expect(salted.cached == 0 && salted.text == plain.text)
        #expect(try await complete(client, Self.prefix + "One day", salt: "tenant-b").cached == 0)
        #expect(try await complete(client, Self.prefix + "One day", salt: "tenant-a").cached == salted.prompt - 1)
        #expect(try await complete(client, Self.prefix + "One day").cached == plain.prompt - 1)
        await #expect(throws: RemoteError.self) {
          _ = try await complete(client, "x", salt: "a/b")
        }
      }
    }
  }

  @Test func aResetForgetsEverything() async throws {
    try await StoryServer.run { server in
      try await server.client { client in
        let first = try await complete(client, Self.prefix)
        #expect(try await complete(client, Self.prefix).cached > 0)
        let page = try MetricsPage(try await client.text("/metrics"))
        #expect(page.sum("swerve_kv_blocks", ["state": "cached"]) ?? 0 > 0)
        #expect(try await client.post("/reset_prefix_cache", [:])["success"]?.bool == true)
        let after = try await complete(client, Self.prefix)
        #expect(after.cached == 0 && after.text == first.text)
      }
    }
  }

  @Test func anEvictionPolicyIsChosenByFlagAndChangesNothing() async throws {
    try await StoryServer.run({
      $0.prefixCachePolicy = .cost
      $0.kvCacheBytes = nil
      $0.kvBlocks = 33
    }) { server in
      try await server.client { client in
        var answers: [String] = []
        for round in 0..<2 {
          for start in ["A fox", "A crow", "A wolf", "A king", "A cat"] {
            let text = try await complete(client, start + " " + Self.prefix + Self.prefix).text
            if round == 0 { answers.append(text) } else { #expect(answers.contains(text)) }
          }
        }
      }
    }
  }
}
