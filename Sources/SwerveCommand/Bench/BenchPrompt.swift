package import SwerveCore

/// One request of a benchmark.
package struct BenchPrompt: Sendable, Hashable {
  package enum Content: Sendable, Hashable {
    case tokens([TokenID])
    case text(String)
  }

  package var content: Content
  /// Prompt tokens where known; a server's count replaces it.
  package var promptTokens: Int
  package var outputTokens: Int
}

/// Makes the prompts of a data set from token ids of one vocabulary.
struct PromptMaker {
  /// Token ids that may stand in a random prompt.
  let vocabulary: [TokenID]
  var generator: SeededGenerator

  init(vocabulary: [TokenID], seed: Int) {
    self.vocabulary = vocabulary
    generator = SeededGenerator(seed: seed)
  }

  mutating func random(_ bench: BenchSettings) -> [BenchPrompt] {
    let prefix = tokens(bench.randomPrefixLength)
    return (0..<bench.promptCount).map { _ in
      let input = spread(bench.randomInputLength, bench.randomRangeRatio)
      let output = max(1, spread(bench.randomOutputLength, bench.randomRangeRatio))
      let all = prefix + tokens(prefix.isEmpty ? max(1, input) : input)
      return BenchPrompt(content: .tokens(all), promptTokens: all.count, outputTokens: output)
    }
  }

  /// Prompts that share one of a few beginnings, in random order.
  mutating func repetition(_ bench: BenchSettings) -> [BenchPrompt] {
    let prefixes = (0..<max(1, bench.repetitionPrefixes)).map { _ in tokens(bench.repetitionPrefixLength) }
    var prompts = (0..<bench.promptCount).map { place in
      let all = prefixes[place % prefixes.count] + tokens(max(1, bench.repetitionSuffixLength))
      return BenchPrompt(
        content: .tokens(all), promptTokens: all.count, outputTokens: max(1, bench.repetitionOutputLength))
    }
    prompts.shuffle(using: &generator)
    return prompts
  }

  private mutating func tokens(_ count: Int) -> [TokenID] {
    (0..<max(0, count)).compactMap { _ in vocabulary.randomElement(using: &generator) }
  }

  /// Uniform in length × (1 ± ratio).
  private mutating func spread(_ length: Int, _ ratio: Double) -> Int {
    let reach = Int(Double(length) * max(0, min(0.999, ratio)))
    return reach == 0 ? length : Int.random(in: (length - reach)...(length + reach), using: &generator)
  }
}

/// Words for prompts where no token ids can be had.
enum FillerText {
  private static let words = """
    the of and to in that was it for on are as with they be at one have this from by hot but some what there we \
    can out other were all your when up use word how said an each she which do their time if will way about many \
    then them would write like so these her long make thing see him two has look more day could go come did my \
    sound no most number who over know water than call first people may down side been now find any new work part \
    take get place made live where after back little only round man year came show every good me give our under \
    name very through just form much great think say help low line before turn cause same mean differ move right \
    boy old too does tell sentence set three want
    """.split(separator: " ").map(String.init)

  static func make(words count: Int, generator: inout SeededGenerator) -> String {
    (0..<max(1, count)).compactMap { _ in words.randomElement(using: &generator) }.joined(separator: " ")
  }

  /// Every word once.
  static let all = words.joined(separator: " ")
}
