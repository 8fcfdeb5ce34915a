import SwerveCore
import SwerveText
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The recorded answers of the reference implementation, found beside this file.
enum ChatTemplateFixtures {
  static let now = TemplateDate("2026-03-07T09:05:02") ?? TemplateDate(epoch: 0)

  static let folder: String = {
    let file = "\(#filePath)"
    return file[..<(file.lastIndex(of: "/") ?? file.startIndex)] + "/Fixtures/chat-templates"
  }()

  static func bytes(_ name: String) throws -> [UInt8] {
    try FileBytes(mapping: folder + "/" + name).withBytes { Array($0) }
  }

  static func template(_ name: String) throws -> String {
    String(decoding: try bytes("templates/" + name), as: UTF8.self)
  }

  static var templateNames: [String] { ModelFiles(folder: folder + "/templates").names }

  static func lines(_ name: String) throws -> [JSON] {
    try bytes(name).split(separator: 0x0A).map { try JSON(parsing: Array($0)) }
  }

  /// The shared context of a file of small templates, and its cases.
  static func smallCases(_ name: String) throws -> (context: JSONObject, cases: [JSON]) {
    let all = try lines(name)
    let context = try #require(all.first?["context"]?.object)
    return (context, Array(all.dropFirst()))
  }
}

/// What a rendering did, comparable with what a case expects.
enum ChatTemplateOutcome: Equatable {
  case text(String)
  case failure(kind: String, message: String)

  init(_ body: () throws -> String) {
    do {
      self = .text(try body())
    } catch let error as TemplateError {
      let kind = error.kind == .raised ? "raise_exception" : error.kind.rawValue
      self = .failure(kind: kind, message: error.message)
    } catch {
      self = .failure(kind: "other", message: "\(error)")
    }
  }

  /// Nil where the outcome is what `expected` asks for. Texts and the template's own words must match byte for byte; of
  /// Python's errors only the kind must.
  func difference(from expected: JSON) -> String? {
    switch self {
    case .text(let text):
      guard let wanted = expected["expected"]?.string else { return "rendered \(text.debugDescription)" }
      return wanted.utf8.elementsEqual(text.utf8) ? nil : "rendered \(text.debugDescription)"
    case .failure(let kind, let message):
      guard let wanted = expected["error"]?.string, let wantedKind = expected["error_kind"]?.string else {
        return "failed: \(message)"
      }
      if kind != wantedKind { return "failed with a \(kind) error: \(message)" }
      return kind == "python" || message == wanted ? nil : "failed with other words: \(message)"
    }
  }
}

/// A small seeded generator (SplitMix64): the same seed, the same inputs.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
