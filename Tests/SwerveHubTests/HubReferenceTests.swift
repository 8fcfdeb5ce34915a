import SwerveHub
import Testing

@Suite struct HubReferenceTests {
  static let good: [(String, String?, String, String)] = [
    ("org/name", nil, "org/name", "main"),
    ("gpt2", nil, "gpt2", "main"),
    ("Qwen/Qwen3-0.6B@v1.0", nil, "Qwen/Qwen3-0.6B", "v1.0"),
    ("org/name@refs/pr/3", nil, "org/name", "refs/pr/3"),
    ("org/name", "dev", "org/name", "dev"),
    ("org/name@a", "b", "org/name", "a"),
  ]

  @Test(arguments: good.indices)
  func aNameIsARepositoryAndARevision(_ row: Int) throws {
    let (name, revision, repository, expected) = Self.good[row]
    let reference = try #require(HubReference(name, revision: revision))
    #expect(reference.repository == repository)
    #expect(reference.revision == expected)
  }

  @Test(arguments: [
    "", "/", "a/b/c", "org/", "/name", "org/na me", "org/..", "org/-x", "org/a--b", "org/a..b", "org/name@",
    "org/name@../x", "org/name@a//b", "org/name@/etc", "org/n\u{e9}", String(repeating: "x", count: 97),
  ])
  func otherTextIsNone(_ name: String) {
    #expect(HubReference(name) == nil)
  }

  @Test func aFolderOnDiskIsThatFolder() throws {
    let folder = TemporaryFolder()
    #expect(try ModelLocation(folder.path) == .folder(folder.path))
  }

  @Test(arguments: [
    ("model.gguf", "GGUF files are not supported yet"), ("s3://bucket/x", "s3:// are not supported yet"),
    ("https://host/x", "not supported yet"), ("./missing", "does not exist"), ("/missing/folder", "does not exist"),
    ("a b", "neither a folder on this machine nor a Hub id"), ("/dev/null", "is a file"),
  ])
  func whatIsNoModelIsToldSo(_ name: String, _ sentence: String) {
    let error = #expect(throws: HubError.self) { _ = try ModelLocation(name) }
    #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
  }
}
