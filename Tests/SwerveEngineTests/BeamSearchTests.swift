import SwerveCore
import SwerveEngine
import Synchronization
import Testing

@Suite(.serialized) struct BeamSearchTests {
  @Test(arguments: ["allowed_token_ids", "logit_bias", "bad_words"])
  func beamSearchRefusesTheMasksItCannotHonour(field: String) async throws {
    let engine = try await Engine.start(storyConfiguration())
    let request = textRequest("Once upon a time") {
      $0.useBeamSearch = true
      $0.n = 2
      switch field {
      case "allowed_token_ids": $0.allowedTokenIds = [5, 6]
      case "logit_bias": $0.logitBias = [5: -100]
      default: $0.badWords = ["king"]
      }
    }
    await #expect { _ = try await engine.generate(request) } throws: { ($0 as? RequestError)?.param == field }
    await engine.stop()
  }

  @Test func noBeamHoldsAnEndTokenBeforeItsLeastLength() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let free = try await engine.answer(textRequest("Once upon a time") { $0.maxTokens = 4 })
    // Tokens the model likes here end the beams, so that without a mask they would.
    let ends = Array(free.choices[0].tokens.prefix(2))
    let beams = try await engine.answer(
      textRequest("Once upon a time") {
        $0.useBeamSearch = true
        $0.n = 3
        $0.maxTokens = 6
        $0.minTokens = 5
        $0.stopTokenIds = ends
      })
    for choice in beams.choices {
      #expect(choice.tokens.count >= 5)
      #expect(choice.tokens.prefix(5).allSatisfy { !ends.contains($0) })
    }
    await engine.stop()
  }

  @Test func beamSearchThatMayGenerateNothingEndsEveryChoice() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let answer = try await engine.answer(
      textRequest("Once") {
        $0.useBeamSearch = true
        $0.n = 2
        $0.maxTokens = 0
      })
    #expect(answer.choices.map(\.finish) == [.length, .length])
    #expect(answer.choices.allSatisfy { $0.tokens.isEmpty })
    await engine.stop()
  }

  @Test func beamsReportTheLogprobsThatWereAskedFor() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let request = textRequest("Once upon a time") {
      $0.useBeamSearch = true
      $0.n = 2
      $0.maxTokens = 6
      $0.logprobs = 2
    }
    for try await event in try await engine.generate(request) {
      guard case .delta(let delta) = event else { continue }
      #expect(delta.logprobs.map(\.chosen.token) == delta.tokens)
      #expect(delta.logprobs.allSatisfy { $0.alternatives.count == 2 })
      let sum = delta.logprobs.reduce(0) { $0 + $1.chosen.logprob }
      #expect(abs(sum - delta.cumulativeLogprob!) < 1e-3)
    }
    await engine.stop()
  }

  // MARK: The same beams in every mode

  private func search(_ width: Int, _ text: String, _ change: (inout SamplingParams) -> Void = { _ in })
    -> GenerationRequest
  {
    textRequest(text, id: "beams-\(width)") {
      $0.useBeamSearch = true
      $0.n = width
      $0.maxTokens = 24
      $0.logprobs = 1
      change(&$0)
    }
  }

  @Test func beamsAreTheSameBitsAloneAmongOthersChunkedCachedAndPreempted() async throws {
    let requests = [
      search(4, InvarianceTests.prompts[0]), search(2, InvarianceTests.prompts[2]) { $0.repetitionPenalty = 1.3 },
      search(6, InvarianceTests.prompts[1]) {
        $0.earlyStopping = .never; $0.minTokens = 6
      },
      search(3, InvarianceTests.prompts[3]) {
        $0.lengthPenalty = 0.5; $0.repetitionPenalty = 0.8
      },
    ]
    let plain = try await Engine.start(storyConfiguration { $0.enablePrefixCaching = false })
    var alone: [[Outcome]] = []
    for request in requests { alone.append(try await plain.answer(request).choices) }
    try await idle(plain)
    await plain.stop()
    #expect(alone.allSatisfy { $0.allSatisfy { !$0.tokens.isEmpty && $0.finish != nil } })

    let others = (0..<20).map { index in
      textRequest(InvarianceTests.prompts[index % 4], id: "other-\(index)") {
        $0.temperature = 1
        $0.n = 1 + index % 3
        $0.maxTokens = 40
      }
    }
    let batched = try await Engine.start(storyConfiguration())
    for _ in 0..<2 {
      let answers = try await batched.answers(requests + others)
      #expect(answers[..<4].map(\.choices) == alone, "among others, then with prefix hits")
    }
    try await idle(batched)
    await batched.stop()

    let tiny = try await Engine.start(
      storyConfiguration {
        $0.maxBatchedTokens = 16; $0.maxSequences = 16; $0.kvBlocks = 36; $0.kvCacheBytes = nil; $0.maxModelLength = 128
      })
    let answers = try await tiny.answers(requests + others)
    #expect(answers[..<4].map(\.choices) == alone, "chunked at 16, after preemptions")
    #expect(tiny.statistics.preemptions > 0)
    try await idle(tiny)
    await tiny.stop()
  }

  @Test func aSearchIsOneRequestToEverybody() async throws {
    final class Ends: EngineObserver {
      let lives = Mutex<[RequestStatistics]>([])
      func firstToken(seconds: Double) {}
      func interToken(seconds: Double) {}
      func step(tokens: Int, seconds: Double) {}
      func finished(_ request: RequestStatistics) { lives.withLock { $0.append(request) } }
    }
    let ends = Ends()
    let engine = try await Engine.start(storyConfiguration(), observer: ends)
    let answer = try await engine.answer(search(4, InvarianceTests.prompts[0]) { $0.ignoreEos = true })
    try await idle(engine)
    await engine.stop()
    let lives = ends.lives.withLock { $0 }
    #expect(lives.count == 1)
    #expect(lives[0].generationTokens == answer.choices.reduce(0) { $0 + $1.tokens.count })
    #expect(lives[0].promptTokens == answer.prompt.count && lives[0].n == 4)
    #expect(engine.statistics.promptTokens == answer.prompt.count)
    #expect(engine.statistics.generationTokens == lives[0].generationTokens)
    // The prompt in one step, then a row a beam.
    #expect(engine.statistics.steps == answer.choices.map(\.tokens.count).max())
  }

  @Test func moreBeamsThanChoicesGiveTheBestOfThem() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let four = try await engine.answer(search(4, InvarianceTests.prompts[0]))
    let best = try await engine.answer(
      search(4, InvarianceTests.prompts[0]) {
        $0.n = 2
        $0.beamWidth = 4
      })
    #expect(best.choices == Array(four.choices[..<2]))
    await #expect(throws: RequestError.self) {
      _ = try await engine.answer(
        search(4, "Once") { $0.beamWidth = 3 })
    }
    let error = await #expect(throws: RequestError.self) { _ = try await engine.answer(search(65, "Once")) }
    #expect(error?.param == "n" && error?.message.contains("65") == true)
    try await idle(engine)
    await engine.stop()
  }

  @Test func aSearchThatIsLeftGivesItsBlocksBack() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let task = Task { try await engine.answer(search(8, InvarianceTests.prompts[2]) { $0.maxTokens = 400 }) }
    while engine.statistics.steps < 3 { try await Task.sleep(for: .milliseconds(1)) }
    task.cancel()
    _ = try? await task.value
    try await idle(engine)
    #expect(engine.statistics.steps < 390)
    await engine.stop()
  }

  // MARK: Against the reference

  @Test(arguments: ["llama_mha", "qwen2"]) func beamsAreThoseOfTheReference(model: String) async throws {
    let tests = #filePath.dropLast("SwerveEngineTests/BeamSearchTests.swift".utf8.count)
    let folder = tests + "SwerveInferenceTests/Fixtures/models/" + model
    let golden = try #require(try ModelFiles(folder: String(folder)).json("golden.json"))
    let engine = try await Engine.start(
      storyConfiguration {
        $0.modelFolder = String(folder); $0.skipTokenizerInit = true; $0.dtype = .float32; $0.maxModelLength = nil
      })
    func tokens(_ json: JSON?) -> [TokenID] { (json?.array ?? []).compactMap(\.int).map { TokenID($0) } }
    let searches = golden["beam_search"]?.array ?? []
    #expect(searches.count == 6)
    for search in searches {
      let end = TokenID(try #require(search["eos_token_id"]?.int))
      var params = SamplingParams(
        n: try #require(search["num_beams"]?.int), temperature: 0, maxTokens: search["max_new_tokens"]?.int)
      params.useBeamSearch = true
      params.stopTokenIds = [end]
      params.lengthPenalty = Float(search["length_penalty"]?.double ?? 1)
      params.earlyStopping = search["early_stopping"]?.bool == true ? .whenFull : .whenUnlikely
      let item = golden["cases"]?.array?[try #require(search["case_index"]?.int)]
      let answer = try await engine.answer(
        GenerationRequest(id: "golden", prompt: .tokens(tokens(item?["input_ids"])), params: params))
      let wanted = (search["sequences"]?.array ?? []).map { tokens($0["ids"]) }
      #expect(
        answer.choices.map { $0.tokens.last == end ? $0.tokens.dropLast() : $0.tokens[...] }
          == wanted.map { $0.last == end ? $0.dropLast() : $0[...] })
    }
    await engine.stop()
  }
}
