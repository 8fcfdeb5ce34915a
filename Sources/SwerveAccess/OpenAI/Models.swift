import HTTPTypes
import Hummingbird
import SwerveCore

/// `GET /v1/models` and `GET /v1/models/{id}`.
enum Models {
  @Sendable static func list(_ exchange: Exchange) async throws -> Response {
    let entries = exchange.configuration.servedModelNames.map { entry($0, exchange) }
    return .json(["object": "list", "data": .array(entries)])
  }

  /// The id may contain slashes, written as such or percent-encoded.
  @Sendable static func one(_ exchange: Exchange) async throws -> Response {
    let id = decoded(exchange.rest)
    guard exchange.configuration.servedModelNames.contains(id) else { throw RequestError.unknownModel(id) }
    return .json(entry(id, exchange))
  }

  private static func entry(_ id: String, _ exchange: Exchange) -> JSON {
    let created = JSON.int(exchange.configuration.createdTime)
    let model = exchange.engine.model
    let permission: JSON = [
      "id": .string("modelperm-" + stableID(id)), "object": "model_permission", "created": created,
      "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true, "allow_search_indices": false,
      "allow_view": true, "allow_fine_tuning": false, "organization": "*", "group": nil, "is_blocking": false,
    ]
    return [
      "id": .string(id), "object": "model", "created": created, "owned_by": "swerve",
      "root": .string(exchange.configuration.hidesModelRoot ? id : model.root), "parent": nil,
      "max_model_len": .int(model.maxModelLength), "permission": [permission],
    ]
  }

  /// 32 hexadecimal digits that depend on the name only, so that repeated calls agree (FNV-1a, twice).
  private static func stableID(_ name: String) -> String {
    func hash(_ seed: UInt64) -> String {
      let value = name.utf8.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
      let digits = String(value, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }
    return hash(0xcbf2_9ce4_8422_2325) + hash(0x9e37_79b9_7f4a_7c15)
  }

  private static func decoded(_ text: String) -> String {
    var bytes: [UInt8] = []
    let source = Array(text.utf8)
    var place = 0
    while place < source.count {
      if source[place] == UInt8(ascii: "%"), place + 2 < source.count,
        let value = UInt8(String(decoding: source[place + 1...place + 2], as: UTF8.self), radix: 16)
      {
        bytes.append(value)
        place += 3
      } else {
        bytes.append(source[place])
        place += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
