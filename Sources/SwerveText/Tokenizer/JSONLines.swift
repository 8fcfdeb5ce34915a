import SwerveCore

/// The JSON-lines form of tokenizing: one request a line, one answer a line. A line that cannot be answered gets
/// `{"error": …}` and changes nothing for the next.
package struct TokenizerLines: Sendable {
  private let tokenizer: Tokenizer

  package init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

  /// `{"text": "…", "add_special_tokens": true, "parse_special": true}` → `{"ids": [1, 2]}`. Both switches default to
  /// true. Neither line has its line break.
  package func tokenize(line: [UInt8]) -> [UInt8] {
    answer(line) { (request) throws(LineError) in
      guard let text = request["text"]?.string else { throw LineError(reason: "text must be a string") }
      let ids = tokenizer.encode(
        text, addSpecialTokens: try Self.bool(request, "add_special_tokens", true),
        parseSpecial: try Self.bool(request, "parse_special", true))
      var out = Array(#"{"ids": ["#.utf8)
      out.reserveCapacity(ids.count * 6 + 16)
      for (place, id) in ids.enumerated() {
        if place > 0 { out.append(contentsOf: ", ".utf8) }
        out.append(contentsOf: String(id).utf8)
      }
      out.append(contentsOf: "]}".utf8)
      return out
    }
  }

  /// `{"ids": [1, 2], "skip_special_tokens": true}` → `{"text": "…"}`; with `"stream": true` and `"prompt_ids": […]` →
  /// `{"deltas": ["…", null]}`, an entry a token, null where no text is ready.
  package func detokenize(line: [UInt8]) -> [UInt8] {
    answer(line) { (request) throws(LineError) in
      let ids = try Self.ids(request, "ids")
      let skips = try Self.bool(request, "skip_special_tokens", true)
      guard try Self.bool(request, "stream", false) else {
        return Self.line(["text": .string(tokenizer.decode(ids, skipSpecialTokens: skips))])
      }
      let prompt = request["prompt_ids"] == nil ? [] : try Self.ids(request, "prompt_ids")
      var stream = IncrementalDetokenizer(tokenizer, promptIDs: prompt, skipSpecialTokens: skips)
      let deltas = ids.map { stream.append($0).map { JSON.string($0) } ?? .null }
      return Self.line(["deltas": .array(deltas)])
    }
  }

  private struct LineError: Error {
    var reason: String
  }

  /// JSON as one line for every reader: the three line breaks that JSON leaves bare and some languages split at are
  /// escaped. They occur inside strings only.
  private static func line(_ answer: JSON) -> [UInt8] {
    var line = answer.bytes
    let breaks: [(Pattern, String)] = [("\u{85}", "0085"), ("\u{2028}", "2028"), ("\u{2029}", "2029")].map {
      (Pattern(literal: $0.0), $0.1)
    }
    for (pattern, digits) in breaks { Normalizer.replace(pattern, Array("\\u\(digits)".utf8)).normalize(&line) }
    return line
  }

  private func answer(_ line: [UInt8], _ work: (JSON) throws(LineError) -> [UInt8]) -> [UInt8] {
    let reason: String
    do {
      let request = try JSON(parsing: line)
      guard request.object != nil else { throw LineError(reason: "expected an object, found \(request.kind)") }
      return try work(request)
    } catch let error as LineError {
      reason = error.reason
    } catch {
      reason = "\(error)"
    }
    return Self.line(["error": .string(reason)])
  }

  private static func bool(_ request: JSON, _ name: String, _ standard: Bool) throws(LineError) -> Bool {
    guard let value = request[name], !value.isNull else { return standard }
    guard let bool = value.bool else { throw LineError(reason: "\(name) must be true or false") }
    return bool
  }

  private static func ids(_ request: JSON, _ name: String) throws(LineError) -> [Int32] {
    guard let items = request[name]?.array else { throw LineError(reason: "\(name) must be a list of token ids") }
    var ids: [Int32] = []
    ids.reserveCapacity(items.count)
    for item in items {
      guard let id = item.int else { throw LineError(reason: "\(name) must hold whole numbers, not \(item.kind)") }
      // An id beyond any vocabulary is left out like one beyond this one.
      ids.append(Int32(exactly: id) ?? .max)
    }
    return ids
  }
}
