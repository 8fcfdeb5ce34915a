/// The algorithm that turns a word into ids.
enum TokenModel: Sendable {
  case bytePairs(BytePairModel)
  case unigram(UnigramModel)
  case wordPiece(WordPieceModel)
  case wordLevel(WordLevelModel)

  var vocabulary: Vocabulary {
    switch self {
    case .bytePairs(let model): model.vocabulary
    case .unigram(let model): model.vocabulary
    case .wordPiece(let model): model.vocabulary
    case .wordLevel(let model): model.vocabulary
    }
  }

  /// Appends the ids of one word.
  func encode(_ word: Bytes, scratch: inout EncodingScratch, into out: inout [Int32]) {
    if word.isEmpty { return }
    switch self {
    case .bytePairs(let model): model.encode(word, run: &scratch.run, into: &out)
    case .unigram(let model): model.encode(word, lattice: &scratch.lattice, into: &out)
    case .wordPiece(let model): model.encode(word, into: &out)
    case .wordLevel(let model): model.encode(word, into: &out)
    }
  }

  /// Appends the ids of the word `text[start..<end]`, from the cache where it was seen before.
  @inline(__always)
  func encode(
    _ text: Bytes, _ start: Int, _ end: Int, scratch: inout EncodingScratch, into out: inout [Int32]
  ) {
    let length = end &- start
    guard length <= WordCache.maximumLength, length > 0 else {
      return encode(text.slice(start, end), scratch: &scratch, into: &out)
    }
    let key = WordCache.key(text, start, length)
    if scratch.cache.append(key, to: &out) { return }
    let first = out.count
    encode(text.slice(start, end), scratch: &scratch, into: &out)
    scratch.cache.insert(key, out[first...])
  }
}

/// What an encoding call needs besides the tokenizer: reused buffers and the cache of words.
struct EncodingScratch: ~Copyable {
  var cache = WordCache()
  var run = MergeRun()
  var lattice = UnigramLattice()
}
