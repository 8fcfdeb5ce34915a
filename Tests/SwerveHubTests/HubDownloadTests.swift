import NIOHTTP1
import SwerveHub
import Synchronization
import Testing

/// Repeatable bytes that compress badly and differ with the seed.
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
  var state = seed
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return UInt8(truncatingIfNeeded: state >> 33)
  }
}

@Suite struct HubDownloadTests {
  static let index = #"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors","c":"model-1.safetensors"}}"#
  static let files: [String: [UInt8]] = [
    "config.json": Array(#"{"model_type":"llama"}"#.utf8),
    "tokenizer.json": noise(3_000, seed: 1),
    "chat_template.jinja": Array("{{ messages }}".utf8),
    "model.safetensors.index.json": Array(index.utf8),
    "model-1.safetensors": noise(300_000, seed: 2),
    "model-2.safetensors": noise(200_000, seed: 3),
    "unused.safetensors": noise(10, seed: 4),
    "pytorch_model.bin": noise(10, seed: 5),
    "original/consolidated.pth": noise(10, seed: 6),
    "README.md": Array("hello".utf8),
  ]
  static let large: Set<String> = ["model-1.safetensors", "model-2.safetensors", "tokenizer.json"]
  static let wanted = [
    "chat_template.jinja", "config.json", "model-1.safetensors", "model-2.safetensors",
    "model.safetensors.index.json", "tokenizer.json",
  ]

  let folder = TemporaryFolder()
  let server: FakeHub
  let reference: HubReference

  init() async throws {
    server = try await FakeHub(files: Self.files, large: Self.large)
    reference = try #require(HubReference("org/tiny"))
  }

  func configuration() -> HubConfiguration {
    var configuration = HubConfiguration(cacheFolder: folder.path)
    configuration.endpoint = server.endpoint
    configuration.retryDelay = 0.001
    configuration.readTimeout = 5
    configuration.attempts = 4
    return configuration
  }

  func expectComplete(_ snapshot: String, _ comment: Comment? = nil) {
    #expect(TemporaryFolder.names(snapshot) == Self.wanted, comment)
    for name in Self.wanted { #expect(TemporaryFolder.contents("\(snapshot)/\(name)") == Self.files[name], comment) }
  }

  @Test func aModelArrivesInTheStandardLayout() async throws {
    let seen = Mutex<[HubProgress]>([])
    let snapshot = try await Hub(configuration()).snapshot(of: reference) { progress in
      seen.withLock { $0.append(progress) }
    }
    let commit = server.state.withLock { $0.commit }
    #expect(snapshot == "\(folder.path)/models--org--tiny/snapshots/\(commit)")
    expectComplete(snapshot)
    let etag = FakeHub.sha256(Self.files["model-1.safetensors"]!)
    #expect(TemporaryFolder.target("\(snapshot)/model-1.safetensors") == "../../blobs/\(etag)")
    #expect(
      TemporaryFolder.target("\(snapshot)/config.json") == "../../blobs/\(FakeHub.gitBlob(Self.files["config.json"]!))")
    #expect(TemporaryFolder.contents("\(folder.path)/models--org--tiny/refs/main") == Array(commit.utf8))
    #expect(!TemporaryFolder.names("\(folder.path)/models--org--tiny/blobs").contains { $0.hasSuffix(".incomplete") })
    let last = try #require(seen.withLock { $0.max { $0.filesDone < $1.filesDone } })
    #expect((last.bytesDone, last.bytesTotal) == (500_000, 500_000))
    #expect((last.filesDone, last.filesTotal) == (2, 2))
    try await server.stop()
  }

  @Test func aCompleteCacheAsksForNoFile() async throws {
    _ = try await Hub(configuration()).snapshot(of: reference)
    server.state.withLock { $0.requests = [] }
    let progressed = Mutex(false)
    let snapshot = try await Hub(configuration()).snapshot(of: reference) { _ in progressed.withLock { $0 = true } }
    expectComplete(snapshot)
    #expect(server.requests.map(\.method) == ["GET"] && server.fileRequests.isEmpty)
    #expect(!progressed.withLock { $0 })
    var offline = configuration()
    offline.offline = true
    #expect(try await Hub(offline).snapshot(of: reference) == snapshot)
    #expect(server.requests.count == 1)
    try await server.stop()
  }

  @Test func aCutConnectionIsResumedWhereItBroke() async throws {
    server.state.withLock { $0.cuts["model-1.safetensors"] = [100_000, 50_000, 0] }
    let snapshot = try await Hub(configuration()).snapshot(of: reference)
    expectComplete(snapshot)
    let ranges = server.requests.filter { $0.path == "/storage/model-1.safetensors" }.map(\.range)
    #expect(ranges.count >= 4)
    #expect(ranges.first == .some(nil))
    #expect(ranges.dropFirst().allSatisfy { $0 != nil })
    try await server.stop()
  }

  @Test func aDownloadContinuesAfterTheProcessEnded() async throws {
    let contents = Self.files["model-1.safetensors"]!
    let etag = FakeHub.sha256(contents)
    server.state.withLock { $0.cuts["model-1.safetensors"] = [120_000, 0, 0, 0, 0, 0, 0, 0] }
    await #expect(throws: HubError.self) { _ = try await Hub(configuration()).snapshot(of: reference) }
    let part = "\(folder.path)/models--org--tiny/blobs/\(etag).incomplete"
    let arrived = TemporaryFolder.contents(part)?.count ?? 0
    #expect(arrived > 0 && arrived <= 120_000)
    server.state.withLock {
      $0.cuts = [:]
      $0.requests = []
    }
    expectComplete(try await Hub(configuration()).snapshot(of: reference))
    let ranges = server.requests.filter { $0.path == "/storage/model-1.safetensors" }.map(\.range)
    #expect(ranges == ["bytes=\(arrived)-"])
    try await server.stop()
  }

  @Test func aServerWithoutRangesStartsOver() async throws {
    server.state.withLock {
      $0.ignoresRange = true
      $0.cuts["model-1.safetensors"] = [100_000]
    }
    expectComplete(try await Hub(configuration()).snapshot(of: reference))
    try await server.stop()
  }

  @Test(arguments: ["model-1.safetensors", "config.json"])
  func aDamagedFileIsFetchedAgain(_ name: String) async throws {
    server.state.withLock { $0.corruptions[name] = 1 }
    expectComplete(try await Hub(configuration()).snapshot(of: reference))
    try await server.stop()
  }

  @Test func aFileThatIsAlwaysDamagedIsRefused() async throws {
    server.state.withLock { $0.corruptions["model-2.safetensors"] = 100 }
    let error = await #expect(throws: HubError.self) { _ = try await Hub(configuration()).snapshot(of: reference) }
    guard case .corrupt("model-2.safetensors", "org/tiny", _) = error else {
      Issue.record("wrong error: \(String(describing: error))")
      return
    }
    let commit = server.state.withLock { $0.commit }
    #expect(TemporaryFolder.contents("\(folder.path)/models--org--tiny/snapshots/\(commit)/model-2.safetensors") == nil)
    try await server.stop()
  }

  @Test func aPartThatIsTooLongIsThrownAway() async throws {
    let contents = Self.files["model-1.safetensors"]!
    folder.write(
      "models--org--tiny/blobs/\(FakeHub.sha256(contents)).incomplete", String(repeating: "x", count: 300_001))
    expectComplete(try await Hub(configuration()).snapshot(of: reference))
    try await server.stop()
  }

  @Test func passingFailuresAreTriedAgain() async throws {
    server.state.withLock {
      $0.failures = [(.internalServerError, []), (.badGateway, []), (.tooManyRequests, [("Retry-After", "0")])]
    }
    expectComplete(try await Hub(configuration()).snapshot(of: reference))
    try await server.stop()
  }

  @Test func theTokenStaysWithItsHost() async throws {
    let storage = try await FakeHub(files: Self.files, large: Self.large)
    server.state.withLock { $0.storage = storage.endpoint }
    var configuration = configuration()
    configuration.token = "hf_secret"
    expectComplete(try await Hub(configuration).snapshot(of: reference))
    #expect(server.requests.allSatisfy { $0.authorization == "Bearer hf_secret" })
    #expect(storage.requests.count == 3 && storage.requests.allSatisfy { $0.authorization == nil })
    try await server.stop()
    try await storage.stop()
  }

  @Test func parallelDownloadsTransferEachFileOnce() async throws {
    let hub = Hub(configuration())
    let reference = reference
    let snapshots = try await withThrowingTaskGroup(of: String.self) { group in
      for _ in 0..<4 { group.addTask { try await hub.snapshot(of: reference) } }
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(snapshots.count == 1)
    for snapshot in snapshots { expectComplete(snapshot) }
    let transfers = server.requests.filter { $0.path.hasPrefix("/storage/") && $0.method == "GET" }
    #expect(transfers.count == 3)
    try await server.stop()
  }

  @Test func aTokenizerComesWithoutWeights() async throws {
    let snapshot = try await Hub(configuration()).snapshot(of: reference, files: .tokenizer)
    #expect(TemporaryFolder.names(snapshot) == ["chat_template.jinja", "config.json", "tokenizer.json"])
    try await server.stop()
  }

  @Test func aMovedBranchIsFollowedAndOldBlobsAreShared() async throws {
    let first = try await Hub(configuration()).snapshot(of: reference)
    server.state.withLock {
      $0.commit = String(repeating: "b2", count: 20)
      $0.files["config.json"] = Array(#"{"model_type":"qwen2"}"#.utf8)
      $0.requests = []
    }
    let second = try await Hub(configuration()).snapshot(of: reference)
    #expect(first != second)
    #expect(TemporaryFolder.contents("\(second)/config.json") == Array(#"{"model_type":"qwen2"}"#.utf8))
    #expect(server.requests.filter { $0.method == "GET" && !$0.path.hasPrefix("/api/") }.count == 1)
    try await server.stop()
  }
}
