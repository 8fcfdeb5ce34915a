import NIOCore
import NIOHTTP1
import SwerveHub
import Synchronization
import Testing

@Suite struct HubErrorTests {
  let folder = TemporaryFolder()

  func configuration(_ endpoint: String, token: String? = nil) -> HubConfiguration {
    var configuration = HubConfiguration(cacheFolder: folder.path)
    configuration.endpoint = endpoint
    configuration.token = token
    configuration.retryDelay = 0.001
    configuration.attempts = 2
    return configuration
  }

  func failure(_ server: FakeHub, _ name: String = "org/tiny", token: String? = nil) async throws -> String {
    let reference = try #require(HubReference(name))
    let error = await #expect(throws: HubError.self) {
      _ = try await Hub(configuration(server.endpoint, token: token)).snapshot(of: reference)
    }
    try await server.stop()
    return error?.description ?? ""
  }

  static let statuses: [(HTTPResponseStatus, [(String, String)], String?, String)] = [
    (.unauthorized, [], nil, "set HF_TOKEN"),
    (.unauthorized, [], "hf_x", "the token in use may not read it"),
    (.unauthorized, [("X-Error-Code", "GatedRepo")], nil, "is gated: accept its conditions at"),
    (.forbidden, [("X-Error-Code", "GatedRepo")], "hf_x", "with the account of the token in use"),
    (.notFound, [("X-Error-Code", "RepoNotFound")], nil, "there is no model org/tiny"),
    (.notFound, [("X-Error-Code", "RevisionNotFound")], nil, "has no revision main"),
    (.imATeapot, [], nil, "HTTP status 418"),
    (.internalServerError, [], nil, "HTTP status 500"),
  ]

  @Test(arguments: statuses.indices)
  func eachRefusalSaysWhatToDo(_ row: Int) async throws {
    let (status, headers, token, sentence) = Self.statuses[row]
    let server = try await FakeHub(files: HubDownloadTests.files)
    server.state.withLock { $0.always = (status, headers) }
    let message = try await failure(server, token: token)
    #expect(message.contains(sentence), "\(message)")
    #expect(!message.contains("hf_x"))
  }

  @Test(arguments: ["../escape.json", "a/../../escape", "/etc/passwd", "x\\\\y", "a//b", ".."])
  func aNameThatLeavesTheFolderIsRefused(_ name: String) async throws {
    let server = try await FakeHub(files: HubDownloadTests.files)
    server.state.withLock { $0.extraNames = [name] }
    let message = try await failure(server)
    #expect(message.contains("unsafe name"), "\(message)")
    #expect(TemporaryFolder.names(folder.path).isEmpty)
  }

  @Test func anIndexThatLeavesTheFolderIsRefused() async throws {
    var files = HubDownloadTests.files
    files["model.safetensors.index.json"] = Array(#"{"weight_map":{"a":"../../x.safetensors"}}"#.utf8)
    let message = try await failure(try await FakeHub(files: files))
    #expect(message.contains("weight_map"), "\(message)")
  }

  @Test func aShardThatIsMissingIsNamed() async throws {
    var files = HubDownloadTests.files
    files["model-2.safetensors"] = nil
    let message = try await failure(try await FakeHub(files: files))
    #expect(message == "org/tiny has no file model-2.safetensors.")
  }

  @Test func weightsOfAnotherFormatAreNamed() async throws {
    let files = HubDownloadTests.files.filter { !$0.key.contains("safetensors") }
    let message = try await failure(try await FakeHub(files: files))
    #expect(message.contains("no safetensors weights, only .bin, .pth files"), "\(message)")
  }

  @Test func offlineWithoutACacheSaysSo() async throws {
    let reference = try #require(HubReference("org/tiny@v1"))
    var configuration = configuration("http://127.0.0.1:1")
    configuration.offline = true
    let hub = Hub(configuration)
    await #expect(throws: HubError.notCached(reference, cacheFolder: folder.path)) {
      _ = try await hub.snapshot(of: reference)
    }
  }

  @Test func aHubThatIsNotThereIsNamed() async throws {
    let server = try await FakeHub()
    let endpoint = server.endpoint
    try await server.stop()
    let reference = try #require(HubReference("org/tiny"))
    let error = await #expect(throws: HubError.self) {
      _ = try await Hub(configuration(endpoint)).snapshot(of: reference)
    }
    #expect(error == .unreachable(endpoint: endpoint, reason: "connection refused"))
  }

  @Test func aHubThatIsNotThereDoesNotMatterToACompleteCache() async throws {
    let commit = String(repeating: "c3", count: 20)
    folder.write("models--org--tiny/refs/main", commit)
    folder.write("models--org--tiny/blobs/one", "{}")
    folder.write("models--org--tiny/blobs/two", "weights")
    folder.write("models--org--tiny/snapshots/\(commit)/README.md", "")
    folder.link("models--org--tiny/snapshots/\(commit)/config.json", to: "../../blobs/one")
    folder.link("models--org--tiny/snapshots/\(commit)/model.safetensors", to: "../../blobs/two")
    let server = try await FakeHub()
    let endpoint = server.endpoint
    try await server.stop()
    let reference = try #require(HubReference("org/tiny"))
    let snapshot = try await Hub(configuration(endpoint)).snapshot(of: reference)
    #expect(snapshot == "\(folder.path)/models--org--tiny/snapshots/\(commit)")
    let pinned = try #require(HubReference("org/tiny@\(commit)"))
    var offline = configuration(endpoint)
    offline.offline = true
    #expect(try await Hub(offline).snapshot(of: pinned) == snapshot)
  }

  @Test func aSnapshotWithADanglingLinkIsNotComplete() async throws {
    let commit = String(repeating: "c3", count: 20)
    folder.write("models--org--tiny/refs/main", commit)
    folder.write("models--org--tiny/snapshots/\(commit)/config.json", "{}")
    folder.link("models--org--tiny/snapshots/\(commit)/model.safetensors", to: "../../blobs/gone")
    var offline = configuration("http://127.0.0.1:1")
    offline.offline = true
    let reference = try #require(HubReference("org/tiny"))
    let hub = Hub(offline)
    await #expect(throws: HubError.self) { _ = try await hub.snapshot(of: reference) }
  }
}
