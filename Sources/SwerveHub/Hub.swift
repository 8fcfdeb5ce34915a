import AsyncHTTPClient
import SwerveCore
import Synchronization

/// Turns a reference into a folder with all the files a model needs.
package struct Hub: Sendable {
  private let configuration: HubConfiguration

  package init(_ configuration: HubConfiguration) { self.configuration = configuration }

  /// The folder of a name: the folder itself, or the snapshot in the cache, downloaded where it is not complete.
  package func folder(
    for name: String, revision: String? = nil, files: HubFileSet = .model,
    onProgress: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) async throws -> String {
    switch try ModelLocation(name, revision: revision) {
    case .folder(let folder): return folder
    case .hub(let reference): return try await snapshot(of: reference, files: files, onProgress: onProgress)
    }
  }

  /// The snapshot folder of a reference. Costs one request when everything is cached, none when offline. A Hub that
  /// cannot be reached is no error while the cache has a complete snapshot of the revision.
  ///
  /// `onProgress` is called from any task, often; not at all when nothing had to be transferred.
  package func snapshot(
    of reference: HubReference, files set: HubFileSet = .model,
    onProgress: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) async throws -> String {
    let cache = HubCache(folder: configuration.cacheFolder, reference: reference)
    let cached = cache.knownCommit.flatMap { cache.completeSnapshot(set, commit: $0) }
    if configuration.offline {
      guard let cached else { throw HubError.notCached(reference, cacheFolder: configuration.cacheFolder) }
      return cached
    }
    // With a usable snapshot at hand nobody should wait long for a Hub that does not answer.
    var configuration = configuration
    if cached != nil { configuration.attempts = min(configuration.attempts, 2) }
    let client = HubTransport.makeClient(configuration)
    let transport = HubTransport(client: client, configuration: configuration, reference: reference)
    let outcome: Result<String, any Error>
    do {
      let listing = try await transport.list()
      outcome = .success(try await fetch(listing, set, transport: transport, cache: cache, onProgress: onProgress))
    } catch {
      outcome = .failure(error)
    }
    try await client.shutdown()
    if let cached, case .failure(HubError.unreachable) = outcome { return cached }
    return try outcome.get()
  }

  private func fetch(
    _ listing: HubTransport.Listing, _ set: HubFileSet, transport: HubTransport, cache: HubCache,
    onProgress: @escaping @Sendable (HubProgress) -> Void
  ) async throws -> String {
    let commit = listing.commit
    let small = HubFileSelection.smallFiles(of: listing.files, for: set)
    if set == .model {
      guard small.contains("config.json") else {
        throw HubError.fileNotFound(cache.reference, file: "config.json, so it is no model for this engine")
      }
      // Fails before the first transfer where the repository has no usable weights at all.
      if !small.contains(HubFileSelection.indexName) {
        _ = try HubFileSelection.weightFiles(of: listing.files, index: nil, reference: cache.reference)
      }
    }
    try await transfer(small, commit: commit, transport: transport, cache: cache, onProgress: { _ in })
    if set == .model {
      let index = try ModelFiles(folder: cache.snapshot(commit)).json(HubFileSelection.indexName)
      let weights = try HubFileSelection.weightFiles(of: listing.files, index: index, reference: cache.reference)
      try await transfer(weights, commit: commit, transport: transport, cache: cache, onProgress: onProgress)
    }
    try cache.remember(commit: commit)
    return cache.snapshot(commit)
  }

  /// Brings the missing ones of `names` into the snapshot, a few at a time.
  private func transfer(
    _ names: [String], commit: String, transport: HubTransport, cache: HubCache,
    onProgress: @escaping @Sendable (HubProgress) -> Void
  ) async throws {
    let missing = names.filter { !cache.contains($0, commit: commit) }
    if missing.isEmpty { return }
    let metadata = try await Self.inParallel(missing, limit: configuration.parallelFiles) { name in
      try await transport.metadata(of: name, commit: commit)
    }
    try checkSpace(metadata, cache: cache)
    let ledger = Ledger(names: missing, sizes: metadata.map { $0.size ?? 0 }, onProgress: onProgress)
    let jobs = Array(zip(missing, metadata).enumerated())
    _ = try await Self.inParallel(jobs, limit: configuration.parallelFiles) { place, job in
      let download = BlobDownload(
        transport: transport, cache: cache, file: job.0, commit: commit, metadata: job.1,
        onBytes: { ledger.update(place, bytes: $0) })
      try await download.run()
      ledger.finish(place)
    }
  }

  private func checkSpace(_ metadata: [HubTransport.Metadata], cache: HubCache) throws(HubError) {
    try FileSystem.makeFolders(cache.blobFolder)
    let needed = metadata.reduce(0) { sum, file in
      if FileSystem.kind(of: cache.blob(file.etag)) == .file { return sum }
      let left = max(0, (file.size ?? 0) - (FileSystem.size(of: cache.incomplete(file.etag)) ?? 0))
      return sum.addingReportingOverflow(left).overflow ? .max : sum + left
    }
    if let available = FileSystem.available(in: cache.blobFolder), needed > available {
      throw .diskFull(folder: configuration.cacheFolder, needed: needed, available: available)
    }
  }

  /// `body` over all items, at most `limit` at a time, results in order. The first failure cancels the others.
  private static func inParallel<Item: Sendable, Output: Sendable>(
    _ items: [Item], limit: Int, _ body: @escaping @Sendable (Item) async throws -> Output
  ) async throws -> [Output] {
    try await withThrowingTaskGroup(of: (Int, Output).self) { group in
      var outputs = [Output?](repeating: nil, count: items.count)
      for (place, item) in items.enumerated() {
        if place >= max(1, limit), let (done, output) = try await group.next() { outputs[done] = output }
        group.addTask { (place, try await body(item)) }
      }
      while let (done, output) = try await group.next() { outputs[done] = output }
      return outputs.compactMap { $0 }
    }
  }
}

/// Adds up what the parallel downloads report and passes it on.
private final class Ledger: Sendable {
  private let names: [String]
  private let total: Int
  private let state: Mutex<(bytes: [Int], filesDone: Int)>
  private let onProgress: @Sendable (HubProgress) -> Void

  init(names: [String], sizes: [Int], onProgress: @escaping @Sendable (HubProgress) -> Void) {
    self.names = names
    self.total = sizes.reduce(0) { $0.addingReportingOverflow($1).overflow ? .max : $0 + $1 }
    self.state = Mutex(([Int](repeating: 0, count: names.count), 0))
    self.onProgress = onProgress
  }

  func update(_ place: Int, bytes: Int) {
    report(place) { $0.bytes[place] = bytes }
  }

  func finish(_ place: Int) {
    report(place) { $0.filesDone += 1 }
  }

  private func report(_ place: Int, _ change: (inout (bytes: [Int], filesDone: Int)) -> Void) {
    let progress = state.withLock { state in
      change(&state)
      return HubProgress(
        file: names[place], bytesDone: state.bytes.reduce(0, +), bytesTotal: total, filesDone: state.filesDone,
        filesTotal: names.count)
    }
    onProgress(progress)
  }
}
