/// Unigram language model segmentation (Kudo, https://arxiv.org/abs/1804.10959): the pieces with the highest total score,
/// by dynamic programming over the word. Cost: the length of the word times the depth of the trie.
struct UnigramModel: Sendable {
  var vocabulary: Vocabulary
  var trie: PieceTrie
  /// Log probability of each id.
  var scores: [Double]
  var unknown: Int32?
  var fallsBackToBytes = false
  /// The token `<0xNN>` of each byte, or -1.
  var byteTokens: [Int32] = []
  /// Score of a character without a piece.
  var unknownScore: Double
  /// SentencePiece adds scores as 32-bit numbers, and near ties notice.
  var isSinglePrecision = false

  /// How far below the worst piece an unknown character scores.
  static let unknownPenalty = 10.0

  /// The piece that stands for a byte.
  static func bytePiece(_ byte: Int) -> [UInt8] {
    let digits = String(byte, radix: 16, uppercase: true)
    return Array("<0x\(digits.count == 1 ? "0" : "")\(digits)>".utf8)
  }

  func encode(_ word: Bytes, lattice: inout UnigramLattice, into out: inout [Int32]) {
    lattice.begin(length: word.count)
    var start = 0
    while start < word.count {
      let score = lattice.score(at: start)
      let length = word.scalar(at: start).length
      var hasSingle = false
      trie.forEachPiece(in: word, from: start) { pieceLength, id in
        lattice.offer(start, start + pieceLength, sum(score, scores[Int(id)]), id)
        if pieceLength == length { hasSingle = true }
      }
      if !hasSingle { lattice.offer(start, start + length, sum(score, unknownScore), -1) }
      start += length
    }
    emit(word, lattice: &lattice, into: &out)
  }

  @inline(__always)
  private func sum(_ a: Double, _ b: Double) -> Double { isSinglePrecision ? Double(Float(a + b)) : a + b }

  /// Walks back along the best path. Neighbouring unknown pieces leave as one.
  private func emit(_ word: Bytes, lattice: inout UnigramLattice, into out: inout [Int32]) {
    lattice.tracePath(to: word.count)
    var place = 0
    var unknownStart = -1
    while let step = lattice.nextStep() {
      let isUnknown = step.id < 0 || step.id == unknown
      if isUnknown {
        if unknownStart < 0 { unknownStart = place }
      } else {
        if unknownStart >= 0 { emitUnknown(word.slice(unknownStart, place), into: &out) }
        unknownStart = -1
        out.append(step.id)
      }
      place = step.end
    }
    if unknownStart >= 0 { emitUnknown(word.slice(unknownStart, place), into: &out) }
  }

  private func emitUnknown(_ text: Bytes, into out: inout [Int32]) {
    if fallsBackToBytes {
      // Text that happens to be the unknown piece's own name is that piece.
      let id = vocabulary.id(of: text)
      if id >= 0 {
        out.append(id)
        return
      }
      if text.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
        for byte in text { out.append(byteTokens[Int(byte)]) }
        return
      }
    }
    if let unknown { out.append(unknown) }
  }
}

/// The dynamic programme's table, kept between words.
struct UnigramLattice: ~Copyable {
  private struct Node {
    var score = 0.0
    /// Where the best piece that ends here begins; -1: none ends here.
    var start: Int32 = -1
    var id: Int32 = -1
  }

  struct Step {
    let end: Int
    let id: Int32
  }

  private var nodes: [Node] = []
  private var path: [Int32] = []

  mutating func begin(length: Int) {
    nodes.removeAll(keepingCapacity: true)
    nodes.append(contentsOf: repeatElement(Node(), count: length + 1))
  }

  @inline(__always)
  func score(at place: Int) -> Double { nodes[place].score }

  /// Proposes the piece from `start` to `end`; the first of equal scores stays.
  @inline(__always)
  mutating func offer(_ start: Int, _ end: Int, _ score: Double, _ id: Int32) {
    if nodes[end].start < 0 || score > nodes[end].score {
      nodes[end] = Node(score: score, start: Int32(truncatingIfNeeded: start), id: id)
    }
  }

  mutating func tracePath(to end: Int) {
    path.removeAll(keepingCapacity: true)
    var place = Int32(truncatingIfNeeded: end)
    while place > 0 {
      path.append(place)
      place = nodes[Int(place)].start
    }
  }

  /// The next piece from left to right.
  mutating func nextStep() -> Step? {
    guard let end = path.popLast() else { return nil }
    return Step(end: Int(end), id: nodes[Int(end)].id)
  }
}
