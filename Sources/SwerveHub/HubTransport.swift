import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import SwerveCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Requests to the Hub: redirects by hand (the token never leaves the endpoint's host), tries with growing pauses, and
/// statuses turned into `HubError`.
struct HubTransport: Sendable {
  let client: HTTPClient
  let configuration: HubConfiguration
  let reference: HubReference

  /// What a HEAD request says about a file.
  struct Metadata: Sendable {
    /// Name of the blob: without quotes and `W/`.
    var etag: String
    var size: Int?
  }

  /// What the listing says.
  struct Listing: Sendable {
    var commit: String
    var files: [String]
  }

  static func makeClient(_ configuration: HubConfiguration) -> HTTPClient {
    var settings = HTTPClient.Configuration()
    settings.redirectConfiguration = .disallow
    settings.timeout.connect = .nanoseconds(Int64(configuration.connectTimeout * 1e9))
    settings.timeout.read = .nanoseconds(Int64(configuration.readTimeout * 1e9))
    settings.decompression = .disabled
    settings.connectionPool.retryConnectionEstablishment = false  // tries are counted here
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
  }

  // MARK: Addresses

  private func url(of file: String, commit: String) -> String {
    "\(configuration.endpoint)/\(reference.repository)/resolve/\(commit)/\(Self.escape(file))"
  }

  /// Percent-encodes everything but unreserved characters and `/`.
  static func escape(_ path: String, keepingSlash: Bool = true) -> String {
    var out = ""
    for byte in path.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
        UInt8(ascii: "~"):
        out.unicodeScalars.append(Unicode.Scalar(byte))
      case UInt8(ascii: "/") where keepingSlash: out += "/"
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        out += byte < 16 ? "%0\(digits)" : "%\(digits)"
      }
    }
    return out
  }

  /// `scheme://host:port` of an absolute address.
  static func origin(of url: String) -> Substring {
    guard let scheme = url.firstRange(of: "://") else { return url[...] }
    let end = url[scheme.upperBound...].firstIndex { $0 == "/" || $0 == "?" } ?? url.endIndex
    return url[..<end]
  }

  // MARK: Requests

  /// The files of the revision and the commit it stands at.
  func list() async throws -> Listing {
    let revision = Self.escape(reference.revision, keepingSlash: false)
    let url = "\(configuration.endpoint)/api/models/\(reference.repository)/revision/\(revision)"
    return try await retrying { _ in
      let response = try await send(.GET, url, range: nil)
      let body = try await response.body.collect(upTo: 32 << 20)
      guard let json = try? JSON(parsing: Array(body.readableBytesView)), let commit = json["sha"]?.string,
        SafeName.isHexadecimal(commit, count: 40), let siblings = json["siblings"]?.array
      else { throw HubError.unexpected(url, reason: "no JSON object with sha and siblings") }
      let files = siblings.compactMap { $0["rfilename"]?.string }
      for file in files where !SafeName.isRelative(file) {
        throw HubError.unsafeName(reference.repository, name: file)
      }
      return Listing(commit: commit, files: files)
    }
  }

  /// Name and size of a file's blob.
  func metadata(of file: String, commit: String) async throws -> Metadata {
    let url = url(of: file, commit: commit)
    return try await retrying { _ in
      let response = try await send(.HEAD, url, range: nil, file: file)
      let headers = response.headers
      guard var etag = headers.first(name: "X-Linked-Etag") ?? headers.first(name: "ETag") else {
        throw HubError.unexpected(url, reason: "no ETag")
      }
      if etag.hasPrefix("W/") { etag.removeFirst(2) }
      etag.removeAll { $0 == "\"" }
      guard SafeName.isBlob(etag) else { throw HubError.unsafeName(reference.repository, name: etag) }
      let size = headers.first(name: "X-Linked-Size") ?? headers.first(name: "Content-Length")
      return Metadata(etag: etag, size: size.flatMap { Int($0) }.flatMap { $0 < 0 ? nil : $0 })
    }
  }

  /// The file's bytes from `offset` on; the answer may still begin at 0 (status 200). One try.
  func contents(of file: String, commit: String, from offset: Int) async throws -> HTTPClientResponse {
    let range = offset > 0 ? "bytes=\(offset)-" : nil
    return try await send(.GET, url(of: file, commit: commit), range: range, file: file)
  }

  /// Sends, follows up to ten redirects and turns bad statuses into errors. A HEAD stops at the first answer that
  /// carries the Hub's own description of the file, which is often the redirect itself.
  private func send(_ method: HTTPMethod, _ url: String, range: String?, file: String? = nil) async throws
    -> HTTPClientResponse
  {
    var url = url
    for _ in 0..<10 {
      var request = HTTPClientRequest(url: url)
      request.method = method
      request.headers.add(name: "User-Agent", value: "swerve")
      request.headers.add(name: "Accept-Encoding", value: "identity")
      if let token = configuration.token, Self.origin(of: url) == Self.origin(of: configuration.endpoint) {
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
      }
      if let range { request.headers.add(name: "Range", value: range) }
      let response = try await client.execute(request, deadline: .distantFuture)
      switch response.status.code {
      case 200, 206: return response
      case 301, 302, 303, 307, 308:
        if method == .HEAD, response.headers.contains(name: "X-Linked-Etag") { return response }
        guard let location = response.headers.first(name: "Location"), !location.isEmpty else {
          throw HubError.unexpected(url, reason: "a redirect without an address")
        }
        if location.hasPrefix("//") {
          url = "\(url.prefix { $0 != ":" }):\(location)"
        } else if location.hasPrefix("/") {
          url = Self.origin(of: url) + location
        } else if location.contains("://") {
          url = location
        } else {
          throw HubError.unexpected(url, reason: "a redirect to \(location)")
        }
      default: throw failure(response, url: url, file: file)
      }
    }
    throw HubError.unexpected(url, reason: "more than ten redirects")
  }

  private func failure(_ response: HTTPClientResponse, url: String, file: String?) -> any Error {
    let hasToken = configuration.token != nil
    let code = response.headers.first(name: "X-Error-Code")
    switch response.status.code {
    case 401 where code == "GatedRepo", 403:
      return HubError.gated(reference.repository, endpoint: configuration.endpoint, hasToken: hasToken)
    case 401: return HubError.unauthorized(reference.repository, hasToken: hasToken)
    case 404 where code == "RevisionNotFound": return HubError.revisionNotFound(reference)
    case 404 where file != nil && code != "RepoNotFound": return HubError.fileNotFound(reference, file: file ?? "")
    case 404 where code == nil && reference.revision != "main": return HubError.revisionNotFound(reference)
    case 404: return HubError.repositoryNotFound(reference.repository, endpoint: configuration.endpoint)
    case 416: return RangeRefused()
    case 408, 429, 500...:
      let pause = response.headers.first(name: "Retry-After").flatMap { Double($0) }
      return TemporaryFailure(reason: "HTTP status \(response.status.code)", pause: pause)
    default: return HubError.unexpected(url, reason: "HTTP status \(response.status.code)")
    }
  }

  // MARK: Tries

  /// Runs `body` until it succeeds, fails for good, or `attempts` tries failed for a passing reason.
  private func retrying<Result>(_ body: (Int) async throws -> Result) async throws -> Result {
    var attempt = 1
    while true {
      do { return try await body(attempt) } catch {
        guard let passing = Self.passing(error) else { throw error }
        if attempt >= configuration.attempts {
          throw HubError.unreachable(endpoint: configuration.endpoint, reason: passing.reason)
        }
        try await pause(after: attempt, atLeast: passing.pause)
        attempt += 1
      }
    }
  }

  /// Waits before another try: doubled each time, with a quarter of chance so that many clients spread out.
  func pause(after attempt: Int, atLeast: Double?) async throws {
    let grown = min(configuration.retryDelay * Double(1 << min(attempt - 1, 16)), 15)
    let seconds = max(grown * Double.random(in: 0.75...1.25), min(atLeast ?? 0, 60))
    try await Task.sleep(for: .seconds(seconds))
  }

  /// What an error says when trying again makes sense; nil where it does not.
  static func passing(_ error: any Error) -> TemporaryFailure? {
    switch error {
    case let failure as TemporaryFailure: failure
    case is HubError, is CancellationError, is RangeRefused: nil
    case let error as HTTPClientError where error == .cancelled: nil
    case let error as HTTPClientError where error == .invalidURL || error == .emptyHost || error == .emptyScheme: nil
    case let error as HTTPClientError: TemporaryFailure(reason: error.shortDescription.lowercased(), pause: nil)
    case let error as NIOConnectionError: TemporaryFailure(reason: error.reasonText, pause: nil)
    case let error as IOError: TemporaryFailure(reason: error.reasonText, pause: nil)
    default: TemporaryFailure(reason: "\(error)", pause: nil)
    }
  }
}

/// Worth another try.
struct TemporaryFailure: Error {
  var reason: String
  /// Seconds the server asked to wait.
  var pause: Double?
}

/// The server will not continue at the asked offset (416).
struct RangeRefused: Error {}

extension IOError {
  /// The system's words: `connection refused`.
  fileprivate var reasonText: String { String(cString: strerror(errnoCode)).lowercased() }
}

extension NIOConnectionError {
  fileprivate var reasonText: String {
    if let first = connectionErrors.first {
      return (first.error as? IOError)?.reasonText ?? (first.error as? NIOCore.ChannelError)?.description
        ?? "\(first.error)"
    }
    return "the name \(host) could not be resolved"
  }
}
