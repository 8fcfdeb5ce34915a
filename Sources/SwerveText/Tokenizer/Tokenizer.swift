// Tokenizers: text to token ids and back, from the files that models ship.
// This room must not know requests, chat or models' weights. Start with Tokenizer.

/// A tokenizer as its files describe it, byte-exact with the libraries those files were made for: Hugging Face
/// `tokenizers` for `tokenizer.json`, SentencePiece and tiktoken for `tokenizer.model`.
///
/// Immutable and shared freely between threads. A call borrows buffers and a cache of words from a small pool, so that
/// calls in parallel neither wait for each other nor lose what earlier calls learned.
package final class Tokenizer: Sendable {
  let model: TokenModel
  let normalizer: Normalizer?
  let splitter: WordSplitter
  let postProcessor: PostProcessor
  let added: AddedVocabulary
  let text: TokenText
  private let pool = ScratchPool()

  /// Ids named by `tokenizer_config.json` (or by the native file), where there are any.
  package let bosTokenID: Int32?
  package let eosTokenID: Int32?

  /// Number of ids: one more than the highest, added tokens included.
  package let vocabularyCount: Int

  /// A text of more than `n` times as many bytes has more than `n` tokens.
  package let mostBytesPerToken: Int

  init(parts: TokenizerParts) {
    model = parts.model
    normalizer = parts.normalizer
    splitter = WordSplitter(preTokenizer: parts.preTokenizer, model: parts.model)
    postProcessor = parts.postProcessor
    let added = AddedVocabulary(parts.added, normalizer: parts.normalizesAddedTokens ? parts.normalizer : nil)
    let text = TokenText(
      vocabulary: parts.model.vocabulary, unmapped: parts.unmapped, added: added, decoder: parts.decoder,
      isByteLevel: parts.isByteLevel, pieceIDLimit: parts.pieceIDLimit)
    bosTokenID = parts.bosToken.flatMap { text.id(of: $0) }
    eosTokenID = parts.eosToken.flatMap { text.id(of: $0) }
    self.added = added
    self.text = text
    let highestAdded = Int(added.tokens.map(\.id).max() ?? -1)
    vocabularyCount = max(text.pieceIDLimit, highestAdded + 1)
    // Normal forms shorten a text by less than four. Where whole runs may vanish in a token (unknown words, white space),
    // there is no bound; texts that are text stay far below this one.
    let longest = max(parts.model.vocabulary.longestBytes, added.tokens.map(\.content.utf8.count).max() ?? 0, 1)
    let isBounded = parts.isByteLevel && !added.tokens.contains { $0.stripsLeft || $0.stripsRight }
    mostBytesPerToken = isBounded ? 4 * longest : max(4 * longest, 1_024)
  }

  // MARK: Text to ids

  /// The ids of `text`.
  ///
  /// - Parameters:
  ///   - addSpecialTokens: whether the tokens that surround a text (begin of sequence and the like) are added.
  ///   - parseSpecial: whether special tokens written in the text become their ids. If not, they are ordinary text;
  ///     added tokens that are not special are found either way.
  package func encode(_ text: String, addSpecialTokens: Bool, parseSpecial: Bool = true) -> [Int32] {
    var text = text
    return text.withUTF8 { encode(valid: $0, addSpecialTokens: addSpecialTokens, parseSpecial: parseSpecial) }
  }

  /// The same for UTF-8 bytes. Where they are not UTF-8, the broken parts count as U+FFFD.
  package func encode(utf8: [UInt8], addSpecialTokens: Bool, parseSpecial: Bool = true) -> [Int32] {
    if let text = String(validating: utf8, as: UTF8.self) {
      return encode(text, addSpecialTokens: addSpecialTokens, parseSpecial: parseSpecial)
    }
    let repaired = String(decoding: utf8, as: UTF8.self)
    return encode(repaired, addSpecialTokens: addSpecialTokens, parseSpecial: parseSpecial)
  }

  private func encode(valid bytes: Bytes, addSpecialTokens: Bool, parseSpecial: Bool) -> [Int32] {
    var out: [Int32] = []
    out.reserveCapacity(bytes.count / 3 + 8)
    pool.withScratch { scratch in
      for segment in added.segments(of: bytes, isNormalized: false, skipsSpecial: !parseSpecial) {
        if let id = segment.id {
          out.append(id)
          continue
        }
        let stretch = bytes.slice(segment.range.lowerBound, segment.range.upperBound)
        let isStart = segment.range.lowerBound == 0
        if let changed = normalizer?.normalized(stretch) {
          changed.withUnsafeBufferPointer { encodeNormalized($0, isStart, parseSpecial, &scratch, &out) }
        } else {
          encodeNormalized(stretch, isStart, parseSpecial, &scratch, &out)
        }
      }
    }
    return postProcessor.apply(to: out, addsSpecial: addSpecialTokens)
  }

  private func encodeNormalized(
    _ bytes: Bytes, _ isStart: Bool, _ parseSpecial: Bool, _ scratch: inout EncodingScratch, _ out: inout [Int32]
  ) {
    guard added.hasNormalized else {
      return splitter.encode(bytes, isTextStart: isStart, model: model, scratch: &scratch, into: &out)
    }
    for segment in added.segments(of: bytes, isNormalized: true, skipsSpecial: !parseSpecial) {
      if let id = segment.id {
        out.append(id)
      } else {
        let part = bytes.slice(segment.range.lowerBound, segment.range.upperBound)
        let isStart = isStart && segment.range.lowerBound == 0
        splitter.encode(part, isTextStart: isStart, model: model, scratch: &scratch, into: &out)
      }
    }
  }

  // MARK: Ids to text

  /// The text of `ids`. Ids outside the vocabulary are left out; broken UTF-8 becomes U+FFFD.
  package func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    String(decoding: text.decode(ids, skipSpecialTokens: skipSpecialTokens), as: UTF8.self)
  }

  /// The piece of an id as the vocabulary writes it (`Ġthe`, `▁the`, `<0x0A>`), or nil where there is no such id.
  package func token(for id: Int32) -> String? {
    text.surface(of: id).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The bytes that an id adds to the text, also where they are part of a character. Empty where there is no such id.
  package func bytes(of id: Int32) -> [UInt8] { text.bytes(of: id) }

  /// The id of a piece as the vocabulary writes it.
  package func id(of piece: String) -> Int32? { text.id(of: piece) }

  /// Whether the id is a special token.
  package func isSpecial(_ id: Int32) -> Bool { added.token(id: id)?.isSpecial ?? false }

  /// The tokens beside the model's own vocabulary, in the order of the file.
  package var addedTokens: [AddedToken] { added.tokens }
}

/// What a file's reader hands over.
struct TokenizerParts {
  var model: TokenModel
  var normalizer: Normalizer?
  var preTokenizer: PreTokenizer?
  var postProcessor = PostProcessor()
  var decoder: Decoder?
  var added: [AddedToken] = []
  /// The vocabulary holds raw bytes instead of GPT-2's alphabet for them...
  var isByteLevel = false
  /// ...but for these pieces, which have characters outside that alphabet.
  var unmapped: Set<Int32> = []
  var bosToken: String?
  var eosToken: String?
  /// Whether added tokens that are found in normalised text are normalised themselves.
  var normalizesAddedTokens = true
  /// Ids from here on exist only inside the model.
  var pieceIDLimit: Int?
}
