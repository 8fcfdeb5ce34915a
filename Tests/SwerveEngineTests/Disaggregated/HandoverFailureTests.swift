import Foundation
import SwerveCore
import SwerveEngine
import Testing

/// Whatever happens to blocks on their way: the same tokens, by computing what is missing, and a counter that says so.
@Suite(.serialized) struct HandoverFailureTests {
  private func alone(_ request: GenerationRequest) async throws -> [Outcome] {
    let engine = try await Engine.start(storyConfiguration { $0.enablePrefixCaching = false })
    let answer = try await engine.answer(request)
    await engine.stop()
    return answer.choices
  }

  struct Damage: Sendable, CustomTestStringConvertible {
    var name: String
    var reason: String
    var isStale = false
    /// Long enough that a busy machine is not taken for a silent peer, but where silence is what happens.
    var silenceSeconds = 30.0
    var fault: @Sendable (Int) -> Relay.Fault
    var testDescription: String { name }
  }

  static let damages = [
    Damage(name: "a bit is flipped", reason: "damaged") { .flip($0) },
    Damage(name: "the connection is cut", reason: "lost") { .cut($0) },
    Damage(name: "an old generation", reason: "damaged", isStale: true) { .stale($0) },
    Damage(name: "the producer is silent", reason: "lost", silenceSeconds: 1) { .silence($0) },
  ]

  @Test(arguments: damages) func damagedBlocksAreComputedInstead(damage: Damage) async throws {
    let requests = (0..<4).map { handoverRequests(20)[3 + 5 * $0] }
    var generator = SystemRandomNumberGenerator()
    for way in Way.allCases {
      // In chunks, so that some blocks are whole when it happens.
      let producer = try await Engine.start(
        storyConfiguration {
          $0.maxBatchedTokens = 32
          $0.maxSequences = 8
          $0.hand(.producer) { $0.silenceSeconds = damage.silenceSeconds }
        })
      let consumer = try await Engine.start(
        storyConfiguration { $0.hand(.consumer) { $0.silenceSeconds = damage.silenceSeconds } })
      for request in requests {
        let expected = try await alone(request)
        // Each prompt has a message a layer at least, and the model five layers.
        let layer = Int.random(in: 0..<5, using: &generator)
        let relay = try Relay(
          to: way == .push ? consumer.door.port : producer.door.port, damage.fault(layer), isPulled: way == .pull)
        let before = consumer.transfers
        let answer = try await disaggregated(request, producer, consumer, way, door: ("127.0.0.1", relay.port))
        #expect(answer.choices == expected, "\(way), layer \(layer)")
        #expect(
          try await consumer.waits {
            ($0.transfer?.failures[damage.reason] ?? 0) > before.failures[damage.reason, default: 0]
          }, "\(way), layer \(layer): \(consumer.transfers)")
        #expect(consumer.transfers.received == before.received)
        #expect(!damage.isStale || consumer.transfers.staleMessages == before.staleMessages + 1)
        relay.close()
      }
      try await idle(consumer)
      #expect(consumer.transfers.receiveBlocksUsed == 0)
      #expect(try await producer.waits { $0.transfer?.sendBytesHeld == 0 })
      await producer.stop()
      await consumer.stop()
    }
  }

  @Test func aSlowLinkIsWaitedFor() async throws {
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) })
    let relay = try Relay(to: consumer.door.port, .delay(30))
    let request = handoverRequests(9)[8]
    let answer = try await disaggregated(request, producer, consumer, door: ("127.0.0.1", relay.port))
    #expect(answer.choices == (try await alone(request)))
    #expect(answer.cachedTokens == (answer.prompt.count - 1) / 16 * 16)
    #expect(relay.layers > 0 && consumer.transfers.received == 1 && consumer.transfers.failures.isEmpty)
    relay.close()
    await producer.stop()
    await consumer.stop()
  }

  @Test func aProducerThatDiesLeavesARequestThatIsComputed() async throws {
    let request = handoverRequests(9)[8]
    let expected = try await alone(request)
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) { $0.connectSeconds = 1 } })
    let params = try await prefill(request, at: producer, for: nil)
    await producer.stop()
    var decode = request
    decode.kvTransfer = transferParams(params)
    #expect(try await consumer.answer(decode).choices == expected)
    #expect(consumer.transfers.failures.values.reduce(0, +) == 1 && consumer.transfers.hitTokens == 0)
    // A transfer that nobody knows.
    decode.kvTransfer?.host = nil
    #expect(await consumer.resetPrefixCache())
    #expect(try await consumer.answer(decode).choices == expected)
    #expect(consumer.transfers.failures["unknown"] == 1)
    await consumer.stop()
  }

  @Test func failingIsAPolicy() async throws {
    let request = handoverRequests(9)[8]
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) { $0.loadFailurePolicy = .fail } })
    let relay = try Relay(to: consumer.door.port, .flip(3))
    await #expect {
      _ = try await disaggregated(request, producer, consumer, door: ("127.0.0.1", relay.port))
    } throws: { error in
      (error as? RequestError)?.code == "kv_load_failure" && (error as? RequestError)?.status == 500
    }
    #expect(try await consumer.waits { $0.transfer?.failedRequests == 1 })
    relay.close()
    // The next one comes whole.
    #expect(try await disaggregated(request, producer, consumer).choices == (try await alone(request)))
    try await idle(consumer)
    #expect(consumer.transfers.receiveBlocksUsed == 0)
    await producer.stop()
    await consumer.stop()
  }

  @Test func anotherModelTypeOrKeyIsRefusedBeforeAnythingIsComputed() async throws {
    let folder = try TestFolder()
    let (one, other) = (try folder.keyFile(1), try folder.keyFile(2))
    let changes: [(String, (inout EngineConfiguration) -> Void)] = [
      ("--dtype", { $0.dtype = .float32 }),
      ("--block-size", { $0.blockSize = 32 }),
      ("--link-key-file", { $0.kvTransfer?.linkKeyFile = other }),
      ("--link-key-file", { $0.kvTransfer?.linkKeyFile = nil }),
      ("version", { $0.kvTransfer?.version = "0.0.1" }),
      ("another model", { $0.configOverrides = ["rms_norm_eps": 0.001] }),
    ]
    let request = handoverRequests(9)[8]
    for (word, change) in changes {
      let producer = try await Engine.start(
        storyConfiguration {
          $0.dtype = .bfloat16
          $0.hand(.producer) { $0.linkKeyFile = one }
        })
      let consumer = try await Engine.start(
        storyConfiguration {
          $0.dtype = .bfloat16
          $0.hand(.consumer) { $0.linkKeyFile = one }
          change(&$0)
        })
      await #expect {
        _ = try await prefill(request, at: producer, for: consumer.door)
      } throws: { error in
        guard let error = error as? RequestError else { return false }
        let isOpenToSealed = word == "--link-key-file"
        return error.status == 503 && error.code == "kv_transfer_refused"
          && (isOpenToSealed || error.message.contains(word))
      }
      #expect(producer.statistics.promptTokens == 0, "\(word)")
      #expect(try await producer.waits { $0.transfer?.sendBytesHeld == 0 }, "\(word)")
      #expect(consumer.transfers.receiveBlocksUsed == 0 && consumer.transfers.received == 0)
      #expect(producer.transfers.failures.values.reduce(0, +) == 1, "\(producer.transfers.failures)")
      await producer.stop()
      await consumer.stop()
    }
  }

  @Test func roomThatIsMissingIsARefusalThatFreesBothSides() async throws {
    let request = handoverRequests(9)[8]
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    // Room for one block.
    let layout = 300_000
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) { $0.bufferBytes = layout } })
    let blocks = consumer.transfers.receiveBlocks
    #expect(blocks >= 1)
    if blocks < 12 {
      await #expect(throws: RequestError.self) {
        _ = try await prefill(longRequest(1), at: producer, for: consumer.door)
      }
      #expect(consumer.transfers.failures["full"] == 1)
    }
    #expect(try await producer.waits { $0.transfer?.sendBytesHeld == 0 })
    #expect(try await consumer.waits { $0.transfer?.receiveBlocksUsed == 0 })
    #expect(producer.statistics.promptTokens == 0)
    // Nobody listens there.
    await #expect(throws: RequestError.self) {
      _ = try await prefill(request, at: producer, for: ("127.0.0.1", 1))
    }
    #expect(producer.transfers.failures["unreachable"] == 1)
    // A producer that may keep nothing.
    let small = try await Engine.start(storyConfiguration { $0.hand(.producer) { $0.bufferBytes = layout } })
    await #expect(throws: RequestError.self) { _ = try await prefill(longRequest(1), at: small, for: nil) }
    #expect(small.statistics.promptTokens == 0)
    for engine in [producer, consumer, small] { await engine.stop() }
  }

  @Test func blocksThatNobodyFetchesAreFreed() async throws {
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) { $0.timeoutSeconds = 3 } })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) { $0.timeoutSeconds = 3 } })
    _ = try await prefill(handoverRequests(9)[8], at: producer, for: nil)
    #expect(producer.transfers.sendBytesHeld > 0)
    #expect(
      try await producer.waits { $0.transfer?.sendBytesHeld == 0 || $0.transfer == nil }
        || producer.transfers.sendBytesHeld == 0)
    _ = try await prefill(handoverRequests(9)[7], at: producer, for: consumer.door)
    for _ in 0..<400 where consumer.transfers.receiveBlocksUsed > 0 { try await Task.sleep(for: .milliseconds(10)) }
    #expect(consumer.transfers.receiveBlocksUsed == 0)
    await producer.stop()
    await consumer.stop()
  }

  @Test func wrongRolesAndParametersAreTold() async throws {
    let producer = try await Engine.start(storyConfiguration { $0.hand(.producer) })
    let consumer = try await Engine.start(storyConfiguration { $0.hand(.consumer) })
    let request = handoverRequests(9)[8]
    await #expect(throws: RequestError.self) { _ = try await prefill(request, at: consumer, for: producer.door) }
    // A producer takes no reservations.
    await #expect(throws: RequestError.self) { _ = try await prefill(request, at: producer, for: producer.door) }
    var bad = request
    bad.kvTransfer = KVTransferParams()
    bad.kvTransfer?.isRemotePrefilled = true
    bad.kvTransfer?.transferID = String(repeating: "x", count: 129)
    await #expect(throws: RequestError.self) { _ = try await consumer.answer(bad) }
    bad.kvTransfer?.transferID = nil
    await #expect(throws: RequestError.self) { _ = try await producer.answer(bad) }
    await producer.stop()
    await consumer.stop()
  }

  @Test func whatCannotWorkIsSaidInOneSentence() async throws {
    for (word, change) in [
      ("--data-workers-at", { $0.separate(at: ["10.0.0.2:8500"]) }),
      ("--no-enable-prefix-caching", { $0.enablePrefixCaching = false }), ("kv_port", { $0.kvTransfer?.port = 70_000 }),
      ("kv_ip", { $0.kvTransfer?.host = "0.0.0.0" }),
      ("kv_buffer_size", { $0.kvTransfer?.bufferBytes = 0 }),
      ("timeout_seconds", { $0.kvTransfer?.timeoutSeconds = 0 }),
    ] as [(String, (inout EngineConfiguration) -> Void)] {
      let configuration = storyConfiguration {
        $0.hand(.both)
        change(&$0)
      }
      let problems = configuration.problems()
      #expect(problems.count == 1 && problems[0].contains(word), "\(problems)")
    }
    for (word, change) in [
      ("--trusted-network", { $0.kvTransfer?.host = "192.0.2.7" }),
      ("lower precision", { $0.kvTiers = "host=64MiB:dtype=int8" }),
      ("kv_buffer_size", { $0.kvTransfer?.bufferBytes = 100 }),
      ("--link-key-file", { $0.kvTransfer?.linkKeyFile = "/nowhere/key" }),
    ] as [(String, (inout EngineConfiguration) -> Void)] {
      await #expect {
        _ = try await Engine.start(
          storyConfiguration {
            $0.hand(.both)
            change(&$0)
          })
      } throws: { "\($0)".contains(word) }
    }
  }
}
