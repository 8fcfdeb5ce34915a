/// Text from tokens as they come: never half a character, never anything that a later token would change.
///
/// Follows the reference library's decode stream: text is given out once the tokens so far decode to something that does
/// not end in U+FFFD. Cost of a token: that of decoding a window of a few tokens, whatever the length of the stream; a
/// stream that stays broken is given out in pieces of at most `maximumHeld` tokens.
package struct IncrementalDetokenizer: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecial: Bool
  private let joinsSpecial: Bool
  private var lastWasAdded = false
  private var state: State

  private enum State: Sendable {
    /// Decoding joins bytes: those that wait for the rest of their character.
    case bytes([UInt8])
    case window(Window)
  }

  /// The tokens since the last place where text was given out, with those just before it: decoders look at neighbours.
  private struct Window: Sendable {
    var ids: [Int32]
    /// What the first `prefixCount` ids decode to: given out already.
    var prefix: [UInt8]
    var prefixCount: Int
  }

  private static let maximumHeld = 128
  private static let maximumHeldBytes = 1024
  /// Tokens of the prompt that a decoder's look at neighbours can reach.
  private static let context = 8

  /// - Parameters:
  ///   - promptIDs: the tokens before the first one that will be appended; their text is not given out.
  ///   - skipSpecialTokens: special tokens have no text.
  ///   - spacesBetweenSpecialTokens: added tokens in a row keep the spaces that a decoder puts between words.
  package init(
    _ tokenizer: Tokenizer, promptIDs: [Int32] = [], skipSpecialTokens: Bool = true,
    spacesBetweenSpecialTokens: Bool = true
  ) {
    self.tokenizer = tokenizer
    self.skipsSpecial = skipSpecialTokens
    self.joinsSpecial = !skipSpecialTokens && !spacesBetweenSpecialTokens
    let text = tokenizer.text
    var tail: [Int32] = []
    for id in promptIDs.reversed() where !(skipSpecialTokens && text.isSpecial(id)) {
      tail.append(id)
      if tail.count == Self.context { break }
    }
    tail.reverse()
    if text.joinsBytes {
      var bytes: [UInt8] = []
      for id in tail { text.appendBytes(of: id, to: &bytes) }
      state = .bytes(Array(bytes.suffix(Self.unfinished(bytes))))
    } else {
      var prefix = text.decode(tail, skipSpecialTokens: false)
      while Self.endsBroken(prefix) { prefix.removeLast(3) }
      state = .window(Window(ids: tail, prefix: prefix, prefixCount: tail.count))
    }
  }

  /// Takes the next token; answers the text that is now certain, or nil where there is none.
  package mutating func append(_ id: Int32) -> String? {
    if skipsSpecial, tokenizer.text.isSpecial(id) { return nil }
    var ready: [UInt8]?
    switch state {
    case .bytes(var pending):
      state = .bytes([])
      ready = appendBytes(id, &pending)
      state = .bytes(pending)
    case .window(var window):
      state = .bytes([])
      ready = appendWindow(id, &window)
      state = .window(window)
    }
    if joinsSpecial {
      let content = tokenizer.text.addedContent(id)
      defer { lastWasAdded = content != nil }
      if let content, lastWasAdded { return content }
    }
    return ready.map { String(decoding: $0, as: UTF8.self) }
  }

  /// What is still held back when the stream ends: an unfinished character as U+FFFD. Empty where nothing is.
  package mutating func flush() -> String {
    switch state {
    case .bytes(let pending):
      state = .bytes([])
      return String(decoding: pending, as: UTF8.self)
    case .window(var window):
      let whole = tokenizer.text.decode(window.ids, skipSpecialTokens: false)
      guard whole.count > window.prefix.count else { return "" }
      let rest = Self.rest(of: whole, after: window.prefix)
      window.prefix = whole
      window.prefixCount = window.ids.count
      state = .window(window)
      return String(decoding: rest, as: UTF8.self)
    }
  }

  // MARK: Decoding by joining bytes

  private func appendBytes(_ id: Int32, _ pending: inout [UInt8]) -> [UInt8]? {
    let before = pending.count
    tokenizer.text.appendBytes(of: id, to: &pending)
    if pending.count == before { return nil }
    if !Self.endsUnfinished(pending) {
      defer { pending = [] }
      return Decoder.repaired(pending)
    }
    guard pending.count > Self.maximumHeldBytes else { return nil }
    let kept = Self.unfinished(pending)
    defer { pending.removeFirst(pending.count - kept) }
    return Decoder.repaired(Array(pending.dropLast(kept)))
  }

  /// Whether the repaired text would end in U+FFFD.
  private static func endsUnfinished(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBufferPointer { bytes in
      guard let last = bytes.last else { return false }
      if last < 0x80 { return false }
      let start = bytes.scalarStart(before: bytes.count)
      let scalar = bytes.scalar(at: start)
      return scalar.value == 0xFFFD || start + scalar.length != bytes.count
    }
  }

  /// How many bytes at the end may still become a character: 0 to 3.
  private static func unfinished(_ bytes: [UInt8]) -> Int {
    for back in 1..<4 where back <= bytes.count {
      let byte = bytes[bytes.count - back]
      if byte & 0xC0 == 0x80 { continue }
      let wanted =
        byte >= 0xF0 && byte < 0xF5 ? 4 : byte >= 0xE0 && byte < 0xF0 ? 3 : byte >= 0xC2 && byte < 0xE0 ? 2 : 1
      return back < wanted ? back : 0
    }
    return 0
  }

  // MARK: Decoding a window

  private func appendWindow(_ id: Int32, _ window: inout Window) -> [UInt8]? {
    let text = tokenizer.text
    if window.prefix.isEmpty, !window.ids.isEmpty {
      let prefix = text.decode(window.ids, skipSpecialTokens: false)
      if !Self.endsBroken(prefix) {
        window.prefix = prefix
        window.prefixCount = window.ids.count
      }
    }
    window.ids.append(id)
    let whole = text.decode(window.ids, skipSpecialTokens: false)
    let isHeld = window.ids.count - window.prefixCount > Self.maximumHeld
    guard whole.count > window.prefix.count, !Self.endsBroken(whole) || isHeld else {
      if isHeld { drop(&window) }
      return nil
    }
    let rest = Self.rest(of: whole, after: window.prefix)
    drop(&window)
    return rest.isEmpty ? nil : rest
  }

  /// Makes the tokens that were not given out before the context of what comes.
  private func drop(_ window: inout Window) {
    let count = window.ids.count - window.prefixCount
    window.ids.removeFirst(window.prefixCount)
    window.prefix = tokenizer.text.decode(window.ids, skipSpecialTokens: false)
    window.prefixCount = count
  }

  /// The text behind what was given out. Where a decoder has rewritten that (broken bytes), what is longer by count.
  private static func rest(of whole: [UInt8], after prefix: [UInt8]) -> [UInt8] {
    var start = min(prefix.count, whole.count)
    if !whole.starts(with: prefix) {
      while start < whole.count, whole[start] & 0xC0 == 0x80 { start += 1 }
    }
    return Array(whole[start...])
  }

  private static func endsBroken(_ bytes: [UInt8]) -> Bool { bytes.suffix(3).elementsEqual([0xEF, 0xBF, 0xBD]) }
}
