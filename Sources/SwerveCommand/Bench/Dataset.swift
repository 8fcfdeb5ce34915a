import SwerveCore

/// The prompts a benchmark asked for. Text is turned to tokens by whoever answers: the engine, or a server.
struct Dataset {
  let bench: BenchSettings
  /// Text → token ids; nil where nobody can tell, then prompts stay text.
  let tokenize: ((String) async throws -> [TokenID])?
  /// Ids for random prompts; empty = random words instead.
  let vocabulary: [TokenID]

  func prompts(defaultName: String) async throws -> [BenchPrompt] {
    let name = bench.datasetName ?? defaultName
    var maker = PromptMaker(vocabulary: vocabulary, seed: bench.seed)
    switch name {
    case "random", "prefix_repetition":
      let prompts = name == "random" ? maker.random(bench) : maker.repetition(bench)
      return vocabulary.isEmpty ? words(name, generator: &maker.generator) : prompts
    case "sharegpt", "custom":
      guard let path = bench.datasetPath else {
        throw CommandError(.usage, "--dataset-name \(name) needs --dataset-path FILE; or use --dataset-name random.")
      }
      var entries = name == "sharegpt" ? try DatasetFile.shareGPT(path) : try DatasetFile.custom(path)
      entries.shuffle(using: &maker.generator)
      var prompts: [BenchPrompt] = []
      for place in 0..<bench.promptCount { prompts.append(try await prompt(entries[place % entries.count])) }
      return prompts
    case "hf", "burstgpt", "sonnet":
      throw CommandError(
        .usage, "--dataset-name \(name) is not supported yet: give random, sharegpt, prefix_repetition or custom.")
    default:
      throw CommandError(
        .usage, "--dataset-name must be random, sharegpt, prefix_repetition or custom, not \(name).")
    }
  }

  private func prompt(_ entry: DatasetFile.Entry) async throws -> BenchPrompt {
    var output = bench.fixedOutputLength ?? entry.outputTokens
    if output == nil, let reply = entry.reply {
      output = if let tokenize { try await tokenize(reply).count } else { Self.estimate(reply) }
    }
    guard let tokenize else {
      return BenchPrompt(
        content: .text(entry.prompt), promptTokens: Self.estimate(entry.prompt),
        outputTokens: max(1, output ?? bench.randomOutputLength))
    }
    let tokens = try await tokenize(entry.prompt)
    return BenchPrompt(
      content: .tokens(tokens), promptTokens: tokens.count, outputTokens: max(1, output ?? bench.randomOutputLength))
  }

  /// Random words, about one token each.
  private func words(_ name: String, generator: inout SeededGenerator) -> [BenchPrompt] {
    let isRandom = name == "random"
    let count = isRandom ? bench.randomInputLength : bench.repetitionSuffixLength
    let prefixCount = isRandom ? bench.randomPrefixLength : bench.repetitionPrefixLength
    let prefixes = (0..<max(1, isRandom ? 1 : bench.repetitionPrefixes)).map { _ in
      prefixCount > 0 ? FillerText.make(words: prefixCount, generator: &generator) + " " : ""
    }
    return (0..<bench.promptCount).map { place in
      let text = prefixes[place % prefixes.count] + FillerText.make(words: count, generator: &generator)
      return BenchPrompt(
        content: .text(text), promptTokens: count + prefixCount,
        outputTokens: max(1, isRandom ? bench.randomOutputLength : bench.repetitionOutputLength))
    }
  }

  /// English has about four characters a token.
  private static func estimate(_ text: String) -> Int { max(1, text.utf8.count / 4) }
}
