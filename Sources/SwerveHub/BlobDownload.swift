import AsyncHTTPClient
import NIOCore
import NIOHTTP1

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// One file on its way into the cache: continues what an earlier try left, checks size and hash, and only then gives
/// the blob its name.
struct BlobDownload: Sendable {
  let transport: HubTransport
  let cache: HubCache
  let file: String
  let commit: String
  let metadata: HubTransport.Metadata
  /// Bytes of this file on disk so far; may fall when a damaged part is thrown away.
  let onBytes: @Sendable (Int) -> Void

  private var etag: String { metadata.etag }
  private var repository: String { cache.reference.repository }

  /// Returns when the blob is complete and linked into the snapshot. Waits while another process downloads it.
  func run() async throws {
    try FileSystem.makeFolders(cache.blobFolder)
    try FileSystem.makeFolders(cache.lockFolder)
    if FileSystem.kind(of: cache.blob(etag)) != .file {
      let lock = try await FileLock(cache.lock(etag))
      // Somebody else may have finished it while we waited.
      if FileSystem.kind(of: cache.blob(etag)) != .file { try await download() }
      _ = consume lock
    }
    onBytes(metadata.size ?? FileSystem.size(of: cache.blob(etag)) ?? 0)
    try cache.link(file, commit: commit, etag: etag)
  }

  private func download() async throws {
    let path = cache.incomplete(etag)
    var fruitless = 0
    var damaged = 0
    while true {
      let before = FileSystem.size(of: path) ?? 0
      do {
        if try await attempt(path, from: before) {
          try FileSystem.rename(path, to: cache.blob(etag))
          return
        }
        damaged += 1
        try FileSystem.remove(path)
        onBytes(0)
        if damaged >= 3 {
          let check = metadata.size.map { "\($0) bytes with tag \(etag) were promised" } ?? "tag \(etag) was promised"
          throw HubError.corrupt(file: file, repository: repository, reason: check)
        }
      } catch is RangeRefused {
        damaged += 1
        try FileSystem.remove(path)
        if damaged >= 3 {
          throw HubError.interrupted(file: file, repository: repository, reason: "the server refuses to continue it")
        }
      } catch {
        guard let passing = HubTransport.passing(error) else { throw error }
        fruitless = (FileSystem.size(of: path) ?? 0) > before ? 1 : fruitless + 1
        if fruitless >= transport.configuration.attempts {
          throw HubError.interrupted(file: file, repository: repository, reason: passing.reason)
        }
        try await transport.pause(after: fruitless, atLeast: passing.pause)
      }
    }
  }

  /// One transfer. Answers whether the file is whole and right; throws where the connection failed before its end.
  private func attempt(_ path: String, from offset: Int) async throws -> Bool {
    var size = metadata.size
    if let size, offset == size, offset > 0 { return try check(path, size: size) }
    if let size, offset > size { return false }
    let response = try await transport.contents(of: file, commit: commit, from: offset)
    let continues = response.status.code == 206
    if continues, Self.rangeStart(response.headers.first(name: "Content-Range")) != offset { throw RangeRefused() }
    let start = continues ? offset : 0
    if size == nil, let length = response.headers.first(name: "Content-Length").flatMap({ Int($0) }) {
      size = start + length
    }
    var checksum = BlobChecksum(etag: etag, size: size)
    if start > 0 { try Self.hash(path, upTo: start, into: &checksum) }
    var output = try AppendingFile(path, keepingContents: continues)
    var done = start
    onBytes(done)
    for try await buffer in response.body {
      buffer.withUnsafeReadableBytes { checksum.update($0) }
      done += buffer.readableBytes
      if let size, done > size { break }
      try buffer.withUnsafeReadableBytes { bytes throws(HubError) in try output.append(bytes) }
      onBytes(done)
    }
    try output.close()
    if let size, done < size { throw TemporaryFailure(reason: "the connection ended early", pause: nil) }
    return done == size ?? done && checksum.matches
  }

  private func check(_ path: String, size: Int) throws(HubError) -> Bool {
    var checksum = BlobChecksum(etag: etag, size: size)
    try Self.hash(path, upTo: size, into: &checksum)
    return checksum.matches
  }

  /// The first byte of `bytes 100-199/200`.
  private static func rangeStart(_ header: String?) -> Int? {
    guard let header, header.hasPrefix("bytes ") else { return nil }
    return Int(header.dropFirst(6).prefix { $0 != "-" })
  }

  /// Feeds the first `count` bytes of a file to a checksum.
  private static func hash(_ path: String, upTo count: Int, into checksum: inout BlobChecksum) throws(HubError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileSystem.failure(path) }
    defer { close(descriptor) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { buffer.deallocate() }
    var left = count
    while left > 0 {
      let got = read(descriptor, buffer.baseAddress, min(left, buffer.count))
      if got < 0, errno == EINTR { continue }
      guard got > 0 else { throw FileSystem.failure(path) }
      checksum.update(UnsafeRawBufferPointer(rebasing: buffer[..<got]))
      left -= got
    }
  }
}
