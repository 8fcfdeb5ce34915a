import SwerveCore

/// The standard Hugging Face cache layout, so that caches made by other tools are found and ours are found by them:
///
///     models--org--name/refs/<revision>            the commit a branch or tag stood at
///     models--org--name/blobs/<etag>               contents; `<etag>.incomplete` while they arrive
///     models--org--name/snapshots/<commit>/<file>  a relative link to the blob
///     .locks/models--org--name/<etag>.lock         held while a blob is written
struct HubCache: Sendable {
  let folder: String
  let reference: HubReference

  private var directoryName: String {
    "models--" + reference.repository.split(separator: "/").joined(separator: "--")
  }
  var repositoryFolder: String { "\(folder)/\(directoryName)" }
  var blobFolder: String { "\(repositoryFolder)/blobs" }
  var lockFolder: String { "\(folder)/.locks/\(directoryName)" }

  func blob(_ etag: String) -> String { "\(blobFolder)/\(etag)" }
  func incomplete(_ etag: String) -> String { "\(blobFolder)/\(etag).incomplete" }
  func lock(_ etag: String) -> String { "\(lockFolder)/\(etag).lock" }
  func snapshot(_ commit: String) -> String { "\(repositoryFolder)/snapshots/\(commit)" }
  func file(_ name: String, commit: String) -> String { "\(snapshot(commit))/\(name)" }
  private var referencePath: String { "\(repositoryFolder)/refs/\(reference.revision)" }

  /// The commit the revision stood at when it was last seen; nil where the cache does not know it.
  var knownCommit: String? {
    if SafeName.isHexadecimal(reference.revision, count: 40) { return reference.revision }
    guard let commit = FileSystem.text(of: referencePath), SafeName.isHexadecimal(commit, count: 40) else { return nil }
    return commit
  }

  /// Remembers where the revision stands. A commit needs no note.
  func remember(commit: String) throws(HubError) {
    if reference.revision == commit || knownCommit == commit { return }
    let path = referencePath
    if let slash = path.lastIndex(of: "/") { try FileSystem.makeFolders(String(path[..<slash])) }
    try FileSystem.write(commit, to: path)
  }

  /// Whether the file is there with its contents (a link to a missing blob is not).
  func contains(_ name: String, commit: String) -> Bool { FileSystem.kind(of: file(name, commit: commit)) == .file }

  /// Links a finished blob into the snapshot.
  func link(_ name: String, commit: String, etag: String) throws(HubError) {
    let path = file(name, commit: commit)
    if let slash = path.lastIndex(of: "/") { try FileSystem.makeFolders(String(path[..<slash])) }
    let depth = name.split(separator: "/").count + 1
    try FileSystem.link(path, to: String(repeating: "../", count: depth) + "blobs/\(etag)")
  }

  /// The snapshot's folder when everything a model needs is there: the configuration and, for `.model`, every shard of
  /// the index or at least one safetensors file. For `.tokenizer` a tokenizer in one of the known forms.
  func completeSnapshot(_ set: HubFileSet, commit: String) -> String? {
    let files = ModelFiles(folder: snapshot(commit))
    switch set {
    case .tokenizer:
      let hasTokenizer = ["tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"].contains(
        where: files.contains)
      return hasTokenizer || files.names.contains { $0.hasSuffix(".tiktoken") } ? files.place : nil
    case .model:
      guard files.contains("config.json") else { return nil }
      if files.contains(HubFileSelection.indexName) {
        // An index that cannot be read makes the snapshot incomplete: it will be fetched, or reported, again.
        guard let index = try? files.json(HubFileSelection.indexName),
          let shards = HubFileSelection.shards(ofIndex: index)
        else { return nil }
        return shards.allSatisfy(files.contains) ? files.place : nil
      }
      let hasWeights = files.names.contains { $0.hasSuffix(".safetensors") && files.contains($0) }
      return hasWeights ? files.place : nil
    }
  }
}
