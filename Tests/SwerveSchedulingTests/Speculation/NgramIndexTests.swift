import SwerveCore
import SwerveScheduling
import Testing

@Suite struct NgramIndexTests {
  /// The longest run of tokens before an earlier position that equals the last ones, the newest of equals.
  private func naive(_ tokens: [TokenID], minimum: Int, maximum: Int) -> NgramIndex.Match? {
    var best: NgramIndex.Match?
    for position in stride(from: tokens.count - 1, through: minimum, by: -1) {
      var length = 0
      while length < min(maximum, position), tokens[position - 1 - length] == tokens[tokens.count - 1 - length] {
        length += 1
      }
      if length >= minimum && length > best?.length ?? 0 {
        best = NgramIndex.Match(position: position, length: length)
      }
    }
    return best
  }

  @Test(arguments: [(1, 1), (1, 4), (2, 5), (3, 3), (5, 8)])
  func `the longest and newest match is found`(minimum: Int, maximum: Int) {
    var generator = SeededGenerator(seed: UInt64(minimum * 100 + maximum))
    var matches = 0
    for _ in 0..<200 {
      let count = Int.random(in: 0...60, using: &generator)
      // Enough different tokens that no place has more earlier candidates than are looked at.
      let vocabulary = [1: 40, 2: 10, 3: 6, 5: 3][minimum] ?? 2
      var index = NgramIndex(minimum: minimum, maximum: maximum, capacity: 64)
      var tokens: [TokenID] = []
      for _ in 0..<count {
        let token = TokenID(Int.random(in: 0..<vocabulary, using: &generator))
        tokens.append(token)
        index.append(token)
        let match = index.longestMatch()
        #expect(match == naive(tokens, minimum: minimum, maximum: maximum))
        matches += match == nil ? 0 : 1
      }
    }
    #expect(matches > 50)
  }

  @Test func `whatever was forgotten, a match is one`() throws {
    var generator = SeededGenerator(seed: 7)
    var index = NgramIndex(minimum: 2, maximum: 6, capacity: 100)
    var tokens: [TokenID] = []
    var matches = 0
    for step in 0..<5_000 {
      let token = TokenID(Int.random(in: 0..<(step < 2_500 ? 3 : 30), using: &generator))
      tokens.append(token)
      index.append(token)
      guard let match = index.longestMatch() else { continue }
      matches += 1
      #expect(match.position < tokens.count && match.position >= tokens.count - 128)
      #expect((2...6).contains(match.length))
      #expect(tokens[match.position - match.length..<match.position] == tokens.suffix(match.length))
      #expect(index[match.position] == tokens[match.position])
    }
    #expect(matches > 2_500)
  }

  @Test func `too few tokens match nothing`() {
    var index = NgramIndex(minimum: 3, maximum: 5, capacity: 10)
    for token in [1, 1, 1] { index.append(TokenID(token)) }
    #expect(index.longestMatch() == nil)
    index.append(1)
    #expect(index.longestMatch() == NgramIndex.Match(position: 3, length: 3))
  }
}
