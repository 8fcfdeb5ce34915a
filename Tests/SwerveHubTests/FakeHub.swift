// A small HTTP server that speaks the part of the Hub's protocol this room uses, with faults on demand.
// It must not share code with the client. Start with FakeHub.answer.

import Crypto
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Serves repositories from memory on a free port of 127.0.0.1 and writes down what was asked.
final class FakeHub: Sendable {
  struct Request: Sendable, Equatable {
    var method: String
    var path: String
    var range: String?
    var authorization: String?
  }

  struct Answer: Sendable {
    var status = HTTPResponseStatus.ok
    var headers: [(String, String)] = []
    var body: [UInt8] = []
    /// Bytes of the body after which the connection is closed, although more were promised.
    var cutAfter: Int?
  }

  /// What is served and how it misbehaves.
  struct State: Sendable {
    var commit = String(repeating: "a1", count: 20)
    var files: [String: [UInt8]] = [:]
    /// More names for the listing that have no contents.
    var extraNames: [String] = []
    /// Files kept as large ones: SHA-256 tags, contents behind a redirect to `storage`.
    var large: Set<String> = []
    /// Address of the other server that large files redirect to; nil = this one.
    var storage: String?
    /// Bodies of a file's next transfers are cut after that many bytes.
    var cuts: [String: [Int]] = [:]
    /// The next transfers of a file have one byte flipped.
    var corruptions: [String: Int] = [:]
    /// Statuses for the next requests, whatever they ask.
    var failures: [(HTTPResponseStatus, [(String, String)])] = []
    /// A status for every request.
    var always: (HTTPResponseStatus, [(String, String)])?
    var ignoresRange = false
    var requests: [Request] = []
  }

  let state = Mutex(State())
  private let channel: any NIOCore.Channel
  private static let repository = "org/tiny"

  var port: Int { channel.localAddress?.port ?? 0 }
  var endpoint: String { "http://127.0.0.1:\(port)" }
  var requests: [Request] { state.withLock { $0.requests } }
  /// Requests for files, not for the listing.
  var fileRequests: [Request] { requests.filter { !$0.path.hasPrefix("/api/") } }

  init(files: [String: [UInt8]] = [:], large: Set<String> = []) async throws {
    let reply = Reply()
    channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.pipeline.configureHTTPServerPipeline().flatMapThrowing {
          try channel.pipeline.syncOperations.addHandler(Handler(reply: reply))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    state.withLock {
      $0.files = files
      $0.large = large
    }
    reply.hub.withLock { $0 = WeakHub(hub: self) }
  }

  func stop() async throws { try await channel.close() }

  // MARK: Protocol

  static func sha256(_ bytes: [UInt8]) -> String { SHA256.hash(data: bytes).hex }
  static func gitBlob(_ bytes: [UInt8]) -> String {
    var hash = Insecure.SHA1()
    hash.update(data: Array("blob \(bytes.count)\0".utf8))
    hash.update(data: bytes)
    return hash.finalize().hex
  }

  func answer(_ request: Request) -> Answer {
    state.withLock { state in
      state.requests.append(request)
      if let (status, headers) = state.always { return Answer(status: status, headers: headers) }
      if !state.failures.isEmpty {
        let (status, headers) = state.failures.removeFirst()
        return Answer(status: status, headers: headers)
      }
      if request.path.hasPrefix("/api/models/\(Self.repository)/revision/") {
        let names = (state.files.keys.sorted() + state.extraNames).map { #"{"rfilename":"\#($0)"}"# }
        return Answer(body: Array(#"{"sha":"\#(state.commit)","siblings":[\#(names.joined(separator: ","))]}"#.utf8))
      }
      let prefix = "/\(Self.repository)/resolve/\(state.commit)/"
      let isStorage = request.path.hasPrefix("/storage/")
      guard isStorage || request.path.hasPrefix(prefix) else {
        return Answer(status: .notFound, headers: [("X-Error-Code", "RepoNotFound")])
      }
      let name = String(request.path.dropFirst(isStorage ? "/storage/".count : prefix.count))
      guard let contents = state.files[name] else {
        return Answer(status: .notFound, headers: [("X-Error-Code", "EntryNotFound")])
      }
      if state.large.contains(name), !isStorage {
        return Answer(
          status: .found,
          headers: [
            ("Location", (state.storage ?? "") + "/storage/\(name)"), ("X-Linked-Size", "\(contents.count)"),
            ("X-Linked-Etag", "\"\(Self.sha256(contents))\""), ("X-Repo-Commit", state.commit),
          ])
      }
      return Self.serve(contents, name: name, request: request, state: &state)
    }
  }

  private static func serve(_ contents: [UInt8], name: String, request: Request, state: inout State) -> Answer {
    var answer = Answer()
    var start = 0
    if let range = request.range, !state.ignoresRange, let from = Int(range.dropFirst(6).dropLast()) {
      if from >= contents.count { return Answer(status: .rangeNotSatisfiable) }
      start = from
      answer.status = .partialContent
      answer.headers.append(("Content-Range", "bytes \(from)-\(contents.count - 1)/\(contents.count)"))
    }
    answer.headers.append(("ETag", "W/\"\(state.large.contains(name) ? sha256(contents) : gitBlob(contents))\""))
    answer.body = Array(contents[start...])
    guard request.method == "GET" else { return answer }
    if let left = state.corruptions[name], left > 0, !answer.body.isEmpty {
      state.corruptions[name] = left - 1
      answer.body[answer.body.count / 2] ^= 0x20
    }
    if var cuts = state.cuts[name], !cuts.isEmpty {
      answer.cutAfter = cuts.removeFirst()
      state.cuts[name] = cuts
    }
    return answer
  }
}

private struct WeakHub: Sendable { weak let hub: FakeHub? }

/// Lets the handlers find the server, which exists only after it has been bound.
private final class Reply: Sendable {
  let hub = Mutex(WeakHub(hub: nil))
  func answer(_ request: FakeHub.Request) -> FakeHub.Answer {
    hub.withLock { $0.hub }?.answer(request) ?? FakeHub.Answer(status: .serviceUnavailable)
  }
}

private final class Handler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let reply: Reply
  private var head: HTTPRequestHead?

  init(reply: Reply) { self.reply = reply }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      let answer = reply.answer(
        FakeHub.Request(
          method: head.method.rawValue, path: head.uri, range: head.headers.first(name: "Range"),
          authorization: head.headers.first(name: "Authorization")))
      var headers = HTTPHeaders(answer.headers)
      headers.add(name: "Content-Length", value: "\(answer.body.count)")
      context.write(
        wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers))),
        promise: nil)
      if head.method != .HEAD {
        let part = answer.body.prefix(answer.cutAfter ?? .max)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: part)))), promise: nil)
      }
      guard answer.cutAfter == nil else {
        context.flush()
        context.close(promise: nil)
        return
      }
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
  }
}

extension Sequence<UInt8> {
  var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
