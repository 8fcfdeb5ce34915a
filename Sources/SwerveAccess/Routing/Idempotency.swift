import Crypto
import HTTPTypes
import Hummingbird
import SwerveCore

/// A request that its client named, so that it can ask again for what it lost: by `Idempotency-Key`, a text of its own or
/// the id of the response. Only where the server keeps a journal.
extension Exchange {
  /// The client's `Idempotency-Key`; nil without one, and where none is of any use.
  func idempotencyKey() throws(RequestError) -> String? {
    guard engine.isJournaled, let key = request.headers[.idempotencyKey] else { return nil }
    guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw .badRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.", param: "Idempotency-Key")
    }
    return key
  }

  /// The response's id: where the client named the request, the one it has had before.
  func responseID(_ prefix: String, _ options: RequestOptions, key: String?) -> String {
    guard let key else { return prefix + identifier(options) }
    let isPlain = key.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
      default: false
      }
    }
    if key.hasPrefix(prefix) && isPlain { return key }
    return prefix + Self.hexadecimal(SHA256.hash(data: Array((owner + "\u{0}" + key).utf8)).prefix(16))
  }

  /// By what a journal knows the request; nil without one.
  func idempotency(_ body: JSON, key: String?) -> GenerationRequest.Idempotency? {
    guard engine.isJournaled else { return nil }
    var hash = SHA256()
    hash.update(data: Array((request.uri.path + "\u{0}").utf8))
    hash.update(data: body.bytes)
    return .init(owner: owner, digest: Self.hexadecimal(hash.finalize().prefix(16)), isNamed: key != nil)
  }

  /// How events of a stream are numbered; nil: they are not. Numbers count tokens, so there must be one choice.
  func eventNumbers(key: String?, choices: Int) -> EventNumbers? {
    guard key != nil, choices == 1 else { return nil }
    return EventNumbers(last: request.headers[.lastEventID].flatMap { Int($0) } ?? 0)
  }

  private var owner: String { caller.keyTenant ?? "" }

  private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

/// Numbers of a stream's events: the tokens delivered with and before each.
struct EventNumbers: Sendable {
  /// The last event that the client has had.
  var last: Int
}
