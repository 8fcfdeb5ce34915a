// Tokenizers against recorded results of the libraries they come from, and against broken files.
// Fixtures lie in Fixtures/tokenizers; their README says what each field is. Start with TokenizerGoldenTests.

import Foundation
import SwerveCore
import SwerveText

/// The recorded cases. Files are gzipped; `gzip` unpacks them.
enum TokenizerFixtures {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/tokenizers")
  static let names = [
    "bert-base-uncased", "gpt2", "llama2", "llama3", "mistral-tekken", "phi-3", "qwen2.5", "spm-unigram-en",
    "spm-unigram-ja",
  ]
  static let sentencePieceNames = ["llama2", "spm-unigram-en", "spm-unigram-ja"]

  static func bytes(_ path: String) throws -> [UInt8] {
    let url = root.appending(path: path)
    guard path.hasSuffix(".gz") else { return Array(try Data(contentsOf: url)) }
    return try output(of: ["gzip", "-dc", url.path])
  }

  /// SHA-256 as hexadecimal digits, by coreutils.
  static func sha256(of bytes: [UInt8]) throws -> String {
    let file = FileManager.default.temporaryDirectory.appending(path: "swerve-\(UInt64.random(in: 0...UInt64.max))")
    try Data(bytes).write(to: file)
    defer { unlink(file.path) }
    return String(decoding: try output(of: ["sha256sum", file.path]).prefix(64), as: UTF8.self)
  }

  private static func output(of arguments: [String]) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0, !data.isEmpty else { throw FixtureError(path: arguments.last ?? "") }
    return Array(data)
  }

  /// The small tokenizers: the case's line, and its tokenizer.json byte for byte (a JSON value would take keys that are
  /// canonically equivalent for one).
  static func labs() throws -> [(line: JSON, tokenizer: [UInt8])] {
    try bytes("labs/labs.jsonl.gz").split(separator: 10).map { line in
      let line = Array(line)
      let range = try line.withUnsafeBytes { raw in
        var parser = JSONParser(bytes: raw)
        try parser.beginObject()
        var isFirst = true
        while let key = try parser.nextKey(isFirst: &isFirst) {
          let start = parser.position
          _ = try parser.parseValue()
          if key == "tokenizer" { return start..<parser.position }
        }
        throw FixtureError(path: "labs")
      }
      return (try JSON(parsing: line), Array(line[range]))
    }
  }

  struct FixtureError: Error {
    var path: String
  }

  static func lines(_ path: String) throws -> [JSON] {
    try bytes(path).split(separator: 10).map { try JSON(parsing: Array($0)) }
  }

  static func files(_ contents: [String: [UInt8]]) -> ModelFiles {
    let memory = contents.mapValues { bytes in
      // Never freed: a test's few megabytes.
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
      copy.copyBytes(from: bytes)
      return FileBytes(immortal: UnsafeRawBufferPointer(copy))
    }
    return ModelFiles(place: "test", memory: memory)
  }

  static func tokenizer(_ contents: [String: [UInt8]]) throws -> Tokenizer { try Tokenizer(files: files(contents)) }

  static func tokenizer(named name: String) throws -> Tokenizer {
    try tokenizer(["tokenizer.json": bytes("\(name)/tokenizer.json.gz")])
  }

  static func ids(_ json: JSON?) -> [Int32]? { json?.array?.map { Int32($0.int ?? -1) } }
}

infix operator =~= : ComparisonPrecedence

/// The same bytes: `==` takes strings that are canonically equivalent for equal, which would hide a missing or a
/// superfluous normal form.
func =~= (a: String?, b: String?) -> Bool { a.map { Array($0.utf8) } == b.map { Array($0.utf8) } }

func =~= (a: [String?], b: [String?]?) -> Bool {
  guard let b, a.count == b.count else { return false }
  return zip(a, b).allSatisfy { $0 =~= $1 }
}

extension SeededGenerator {
  /// Text that mixes letters, marks, digits, spaces, line breaks, contractions and characters beyond the BMP.
  mutating func text(_ length: Int) -> String {
    let pool = Array(
      "aAbZzÉßſİǅσς''’\"-_.,!?/\\<>| \t\n\r\u{85}\u{A0}\u{1680}\u{2028}\u{200B}\u{200D}0159٣Ⅷ½漢字かカ한ำहिन्दىُ\u{301}\u{323}🙂👩‍👧ﬁ㌀ｱlvremdtLS"
        .unicodeScalars)
    var out = String.UnicodeScalarView()
    for _ in 0..<length {
      if Int.random(in: 0..<8, using: &self) == 0,
        let scalar = Unicode.Scalar(UInt32.random(in: 0..<0x20000, using: &self))
      {
        out.append(scalar)
      } else {
        out.append(pool.randomElement(using: &self) ?? "a")
      }
    }
    return String(out)
  }
}
