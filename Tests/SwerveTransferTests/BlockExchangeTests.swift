import SwerveCore
import SwerveTransfer
import Synchronization
import Testing

/// Blocks between two doors of this process, without an engine.
@Suite struct BlockExchangeTests {
  static func greeting(_ change: (inout BlockGreeting) -> Void = { _ in }) -> BlockGreeting {
    var greeting = BlockGreeting(
      version: "1", engine: "test", epoch: 1, model: [UInt8](repeating: 3, count: 32), type: .float32, layerCount: 3,
      headCount: 2, headDim: 4, blockTokens: 16, layerBytes: 1000)
    change(&greeting)
    return greeting
  }

  static func exchange(
    _ role: KVTransferConfiguration.Role = .both, key: BlockKey? = nil,
    settings change: (inout KVTransferConfiguration) -> Void = { _ in },
    greeting changeGreeting: (inout BlockGreeting) -> Void = { _ in }
  ) throws -> BlockExchange {
    var settings = KVTransferConfiguration(role: role)
    settings.port = 0
    settings.bufferBytes = 60_000
    settings.silenceSeconds = 2
    settings.connectSeconds = 2
    change(&settings)
    let exchange = try BlockExchange(settings, greeting: greeting(changeGreeting), key: key)
    try exchange.start()
    return exchange
  }

  static let digest = [UInt8](repeating: 9, count: 32)

  static func byte(_ layer: Int, _ block: Int, _ offset: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: layer &* 31 &+ block &* 7 &+ offset)
  }

  /// Fills a layer of blocks and posts it.
  static func post(_ transfer: OutgoingBlocks, layer: Int, _ blocks: Range<Int>) {
    for block in blocks {
      let place = transfer.place(layer: layer, block: block)
      for offset in 0..<1000 {
        place.storeBytes(of: byte(layer, block, offset), toByteOffset: offset, as: UInt8.self)
      }
    }
    transfer.post(layer: layer, blocks: blocks)
  }

  static func push(
    _ from: BlockExchange, _ to: BlockExchange, _ id: BlockTransferID, count: Int
  ) async throws -> OutgoingBlocks {
    let outcome = await withCheckedContinuation { continuation in
      from.push(id, digest: digest, count: count, host: "127.0.0.1", port: to.port) {
        continuation.resume(returning: $0)
      }
    }
    return try outcome.get()
  }

  static func holds(_ condition: () -> Bool) async throws -> Bool {
    for _ in 0..<1000 {
      if condition() { return true }
      try await Task.sleep(for: .milliseconds(5))
    }
    return condition()
  }

  static func expectContent(_ transfer: IncomingBlocks, _ block: Int) {
    let isLoaded = transfer.load(block) { bytes in
      #expect(bytes.count == 3000)
      for layer in 0..<3 {
        for offset in 0..<1000 { #expect(bytes[layer * 1000 + offset] == byte(layer, block, offset)) }
      }
    }
    #expect(isLoaded)
  }

  @Test(arguments: [false, true]) func layersArriveWhileOthersAreComputed(isSealed: Bool) async throws {
    let key = isSealed ? BlockKey([UInt8](repeating: 5, count: 32)) : nil
    let (producer, consumer) = (try Self.exchange(key: key), try Self.exchange(key: key))
    let id = BlockTransferID.random()
    let out = try await Self.push(producer, consumer, id, count: 4)
    #expect(consumer.statistics.receiveBlocksUsed == 4)
    for layer in 0..<3 { Self.post(out, layer: layer, 0..<2) }
    let transfer = try #require(consumer.claim(id, digest: Self.digest))
    #expect(try await Self.holds { transfer.isReady(1) })
    // Whole blocks can be used before the rest was computed.
    #expect(!transfer.isReady(2) && transfer.mayCome(2) && transfer.failure == nil)
    Self.expectContent(transfer, 0)
    for layer in 0..<2 { Self.post(out, layer: layer, 2..<4) }
    Self.post(out, layer: 2, 2..<3)
    #expect(try await Self.holds { transfer.isReady(2) })
    #expect(!transfer.isReady(3))
    Self.post(out, layer: 2, 3..<4)
    out.complete()
    #expect(try await Self.holds { consumer.statistics.received == 1 && producer.statistics.sent == 1 })
    for block in 1..<4 { Self.expectContent(transfer, block) }
    #expect(!transfer.isReady(0) && transfer.failure == nil)
    transfer.release()
    #expect(consumer.statistics.receiveBlocksUsed == 0)
    #expect(consumer.statistics.receivedBytes >= 12_000 && producer.statistics.failures.isEmpty)
    producer.stop()
    consumer.stop()
  }

  @Test func keptBlocksArePulledByThoseWhoKnowTheirNameAndTokens() async throws {
    let (producer, consumer) = (try Self.exchange(.producer), try Self.exchange(.consumer))
    let id = BlockTransferID.random()
    let out = try #require(producer.hold(id, digest: Self.digest, count: 3))
    #expect(producer.hold(id, digest: Self.digest, count: 3) == nil)
    let other = try #require(
      consumer.pull(id, digest: [UInt8](repeating: 1, count: 32), count: 3, host: "127.0.0.1", port: producer.port))
    #expect(try await Self.holds { other.failure != nil })
    other.release()
    let transfer = try #require(
      consumer.pull(id, digest: Self.digest, count: 3, host: "127.0.0.1", port: producer.port))
    for layer in 0..<3 { Self.post(out, layer: layer, 0..<3) }
    out.complete()
    #expect(try await Self.holds { transfer.isReady(2) })
    for block in 0..<3 { Self.expectContent(transfer, block) }
    #expect(consumer.statistics.receiveBlocksUsed == 0)
    #expect(try await Self.holds { producer.statistics.sent == 1 })
    #expect(producer.statistics.failures == ["unknown": 1])
    // A second time they are gone.
    let late = try #require(consumer.pull(id, digest: Self.digest, count: 3, host: "127.0.0.1", port: producer.port))
    #expect(try await Self.holds { late.failure != nil })
    late.release()
    producer.stop()
    consumer.stop()
  }

  @Test func aProducerThatGivesUpFreesTheConsumerAtOnce() async throws {
    let (producer, consumer) = (try Self.exchange(), try Self.exchange())
    let id = BlockTransferID.random()
    let out = try await Self.push(producer, consumer, id, count: 5)
    Self.post(out, layer: 0, 0..<5)
    out.abort("the test gives up")
    #expect(try await Self.holds { consumer.statistics.receiveBlocksUsed == 0 })
    #expect(consumer.claim(id, digest: Self.digest) == nil)
    #expect(try await Self.holds { producer.statistics.failures["aborted"] == 1 })
    producer.stop()
    consumer.stop()
  }

  @Test func reservationsThatDoNotFitAreRefused() async throws {
    let (producer, consumer) = (try Self.exchange(settings: { $0.bufferBytes = 2_000_000 }), try Self.exchange())
    // 20 places.
    #expect(consumer.statistics.receiveBlocks == 20)
    for count in [21, 150] {
      await #expect(throws: TransferError.self) {
        _ = try await Self.push(producer, consumer, .random(), count: count)
      }
    }
    let first = try await Self.push(producer, consumer, .random(), count: 18)
    await #expect(throws: TransferError.self) { _ = try await Self.push(producer, consumer, .random(), count: 3) }
    #expect(consumer.statistics.failures["full"] == 3)
    first.abort("enough")
    #expect(try await Self.holds { consumer.statistics.receiveBlocksUsed == 0 })
    #expect(consumer.claim(.random(), digest: Self.digest) == nil)
    producer.stop()
    consumer.stop()
  }

  @Test func whatIsNotTheSameIsRefusedWithWhatDiffers() async throws {
    let key = BlockKey([UInt8](repeating: 5, count: 32))
    let changes: [(String, BlockKey?, (inout BlockGreeting) -> Void)] = [
      ("version", key, { $0.version = "2" }), ("--kv-cache-dtype", key, { $0.type = .bfloat16 }),
      ("--block-size", key, { $0.blockTokens = 32 }), ("another model", key, { $0.model[31] = 4 }),
      ("another model", key, { $0.layerCount = 4 }), ("--link-key-file", nil, { _ in }),
    ]
    for (word, theirs, change) in changes {
      let producer = try Self.exchange(key: key)
      let consumer = try Self.exchange(key: theirs, greeting: change)
      await #expect {
        _ = try await Self.push(producer, consumer, .random(), count: 1)
      } throws: { "\($0)".contains(word) }
      #expect(consumer.statistics.receiveBlocksUsed == 0)
      #expect(producer.statistics.failures == ["refused": 1])
      producer.stop()
      consumer.stop()
    }
    let producer = try Self.exchange(key: key)
    let consumer = try Self.exchange(key: BlockKey([UInt8](repeating: 6, count: 32)))
    await #expect(throws: TransferError.self) { _ = try await Self.push(producer, consumer, .random(), count: 1) }
    #expect(try await Self.holds { consumer.statistics.failures["refused"] == 1 })
    #expect(consumer.statistics.receiveBlocksUsed == 0)
    producer.stop()
    consumer.stop()
  }

  @Test func openLinksStayOnThisMachineAndPeersAreThoseNamed() async throws {
    let consumer = try Self.exchange()
    let strict = try Self.exchange(settings: { $0.peers = ["10.1.2.3"] })
    await #expect {
      _ = try await Self.push(strict, consumer, .random(), count: 1)
    } throws: { "\($0)".contains("not among the peers") }
    let producer = try Self.exchange()
    let outcome = await withCheckedContinuation { continuation in
      producer.push(.random(), digest: Self.digest, count: 1, host: "192.0.2.1", port: 9) {
        continuation.resume(returning: $0)
      }
    }
    #expect(throws: TransferError.self) { try outcome.get() }
    if case .failure(let error) = outcome { #expect("\(error)".contains("--trusted-network")) }
    for exchange in [consumer, strict, producer] { exchange.stop() }
  }
}

/// Decoders take any bytes.
@Suite struct BlockCodingTests {
  @Test func framesSurviveTheWayAndNothingElseDoes() throws {
    var frame = BlockFrame(.layer, .random(), generation: 7)
    frame.layer = 65_535
    frame.first = 12
    frame.count = 34
    frame.payloadBytes = 56
    frame.payloadCheck = 78
    var bytes = [UInt8](repeating: 0, count: BlockFrame.byteCount)
    bytes.withUnsafeMutableBytes { frame.write(to: $0) }
    #expect(try bytes.withUnsafeBytes { try BlockFrame($0, from: "a test") } == frame)
    for bit in 0..<(8 * bytes.count) {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: TransferError.self) { try damaged.withUnsafeBytes { try BlockFrame($0, from: "a test") } }
    }
    for count in 0..<bytes.count {
      #expect(throws: TransferError.self) { try bytes[..<count].withUnsafeBytes { try BlockFrame($0, from: "a test") } }
    }
  }

  @Test func greetingsSurviveTheWayAndAnyBytesAreAnswered() throws {
    var greeting = BlockExchangeTests.greeting()
    greeting.nonce = [UInt8](repeating: 1, count: 16)
    let bytes = greeting.bytes
    #expect(try bytes.withUnsafeBytes { try BlockGreeting($0, from: "a test") } == greeting)
    for count in 0..<bytes.count {
      #expect(throws: TransferError.self) {
        try bytes[..<count].withUnsafeBytes { try BlockGreeting($0, from: "a test") }
      }
    }
    var generator = SystemRandomNumberGenerator()
    var read = 0
    for _ in 0..<100_000 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        damaged[Int.random(in: damaged.indices, using: &generator)] = .random(in: .min ... .max, using: &generator)
      }
      if Bool.random(using: &generator) { damaged.removeLast(Int.random(in: 0..<damaged.count, using: &generator)) }
      if (try? damaged.withUnsafeBytes({ try BlockGreeting($0, from: "a test") })) != nil { read += 1 }
    }
    #expect(read > 0)
  }

  @Test func namesOfTransfersAreTheSameOnBothSides() {
    let id = BlockTransferID.random()
    #expect(BlockTransferID("\(id)") == id && BlockTransferID(named: "\(id)") == id)
    #expect(BlockTransferID("\(id)x") == nil && BlockTransferID("") == nil)
    #expect(BlockTransferID(named: "xfer-1") == BlockTransferID(named: "xfer-1"))
    #expect(BlockTransferID(named: "xfer-1") != BlockTransferID(named: "xfer-2"))
    #expect(id.place(0) == id && id.place(1) != id && id.place(1) != id.place(2) && id.place(2) == id.place(2))
  }

  /// A peer that says anything at all costs a connection and nothing else.
  @Test func noiseOnTheDoorIsAnswered() async throws {
    let consumer = try BlockExchangeTests.exchange(settings: { $0.connectSeconds = 0.5 })
    var generator = SystemRandomNumberGenerator()
    for round in 0..<200 {
      let socket = try BlockSocket.connect(to: Endpoint(host: "127.0.0.1", port: consumer.port), within: 2)
      var bytes = (0..<Int.random(in: 0...300, using: &generator)).map { _ in
        UInt8.random(in: .min ... .max, using: &generator)
      }
      if round % 2 == 0 {
        // A sound greeting first, then frames that make no sense.
        let link = BlockLink(socket, isDialer: true, capacity: 4096)
        _ = try link.greet(BlockExchangeTests.greeting(), key: nil, within: 2)
        let kinds: [BlockFrame.Kind] = [.layer, .end, .done, .reserve, .pull, .alive, .hello, .refused, .reserved]
        var frame = BlockFrame(kinds[round / 2 % kinds.count], .random(), generation: UInt32(round))
        frame.count = UInt32.random(in: .min ... .max, using: &generator)
        frame.first = UInt32.random(in: .min ... .max, using: &generator)
        bytes = Array(bytes.prefix(64))
        try? link.send(frame, bytes, within: 2)
      } else {
        try? bytes.withUnsafeBytes { try socket.send($0, within: 2) }
      }
      socket.end()
    }
    #expect(try await BlockExchangeTests.holds { consumer.statistics.receiveBlocksUsed == 0 })
    // And it still does its work.
    let producer = try BlockExchangeTests.exchange()
    let out = try await BlockExchangeTests.push(producer, consumer, .random(), count: 2)
    for layer in 0..<3 { BlockExchangeTests.post(out, layer: layer, 0..<2) }
    out.complete()
    #expect(try await BlockExchangeTests.holds { consumer.statistics.received == 1 })
    producer.stop()
    consumer.stop()
  }
}
