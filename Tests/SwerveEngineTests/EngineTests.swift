import SwerveCore
import SwerveEngine
import SwerveInference
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

@Suite(.serialized) struct EngineTests {
  @Test func aConversationIsRenderedAnsweredAndStopsAtItsEnd() async throws {
    let engine = try await Engine.start(storyConfiguration())
    var request = GenerationRequest(
      id: "chat", prompt: .chat(ChatPrompt(messages: [["role": "user", "content": "Hello!"]])),
      params: SamplingParams(temperature: 0, maxTokens: nil))
    request.addSpecialTokens = false
    let answer = try await engine.answer(request)
    #expect(answer.choices[0].finish == .stop)
    #expect(answer.choices[0].stopReason == nil)
    #expect(answer.choices[0].text.count > 10)
    #expect(!answer.choices[0].text.contains("<|"))
    await engine.stop()
  }

  @Test func stopStringsEndTheTextBeforeThemAndFreeTheBlocks() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let whole = try await engine.answer(textRequest("Once upon a time") { $0.maxTokens = 40 })
    let text = whole.choices[0].text
    let middle = text.dropFirst(20).prefix(5)
    let stopped = try await engine.answer(
      textRequest("Once upon a time") {
        $0.maxTokens = 40
        $0.stop = [String(middle)]
      })
    #expect(stopped.choices[0].finish == .stop)
    #expect(stopped.choices[0].stopReason == .string(String(middle)))
    #expect(!stopped.choices[0].text.contains(middle))
    #expect(text.hasPrefix(stopped.choices[0].text))
    let kept = try await engine.answer(
      textRequest("Once upon a time") {
        $0.maxTokens = 40
        $0.stop = [String(middle)]
        $0.includeStopStrInOutput = true
      })
    #expect(kept.choices[0].text == stopped.choices[0].text + middle)
    try await idle(engine)
    await engine.stop()
  }

  @Test func aStopTokenIsReportedAndItsTextLeftOut() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let whole = try await engine.answer(textRequest("Once upon a time"))
    let stopToken = whole.choices[0].tokens[5]
    let stopped = try await engine.answer(textRequest("Once upon a time") { $0.stopTokenIds = [stopToken] })
    #expect(stopped.choices[0].stopReason == .token(stopToken))
    #expect(stopped.choices[0].tokens.last == stopToken)
    let first = whole.choices[0].tokens.firstIndex(of: stopToken)!
    #expect(stopped.choices[0].tokens == Array(whole.choices[0].tokens[...first]))
    await engine.stop()
  }

  @Test func scoringAPromptGeneratesNothing() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let answer = try await engine.answer(
      textRequest("Once upon a time there was") {
        $0.maxTokens = 0
        $0.promptLogprobs = 1
      })
    #expect(answer.choices[0].tokens.isEmpty)
    #expect(answer.choices[0].finish == .length)
    #expect(answer.promptLogprobs?.count == answer.prompt.count)
    await engine.stop()
  }

  @Test func aTextFarTooLongIsRefusedBeforeItIsTokenised() async throws {
    let engine = try await Engine.start(storyConfiguration { $0.maxModelLength = 64 })
    func refusal(_ text: String, keep: Int? = nil) async throws -> String? {
      var request = textRequest(text) { $0.maxTokens = 1 }
      request.truncatePromptTokens = keep
      do {
        _ = try await engine.answer(request)
        return nil
      } catch let error as RequestError {
        #expect(error.kind == .badRequest && error.param == "prompt")
        return error.message
      }
    }
    // The message says how many tokens there are, or how many at least where they were not counted.
    let long = String(repeating: "Once upon a time. ", count: 100)
    #expect(try await refusal(long)?.contains("has at least") == false)
    let endless = String(repeating: "Once upon a time. ", count: 100_000)
    #expect(try await refusal(endless)?.hasPrefix("The prompt has at least ") == true)
    #expect(try await refusal(long, keep: 20) == nil)
    await engine.stop()
  }

  @Test func aClientThatLeavesIsForgotten() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let task = Task {
      for try await _ in try await engine.generate(
        textRequest("Once") {
          $0.maxTokens = 500; $0.ignoreEos = true
        })
      {}
    }
    while engine.statistics.runningRequests == 0 { await Task.yield() }
    task.cancel()
    try await idle(engine)
    #expect(engine.statistics.blocksUsed == 0)
    await engine.stop()
  }

  @Test func badRequestsAreRefusedBeforeTheyQueue() async throws {
    let engine = try await Engine.start(storyConfiguration())
    func problem(_ request: GenerationRequest) async -> RequestError? {
      do {
        _ = try await engine.generate(request)
        return nil
      } catch {
        return error
      }
    }
    #expect(await problem(textRequest(""))?.param == "prompt")
    #expect(await problem(textRequest(String(repeating: "king ", count: 600)))?.status == 400)
    #expect(await problem(textRequest("a") { $0.temperature = 9 })?.param == "temperature")
    let outside = GenerationRequest(id: "x", prompt: .tokens([99_999]), params: SamplingParams())
    #expect(await problem(outside)?.message.contains("99999") == true)
    var truncated = textRequest(String(repeating: "king ", count: 600))
    truncated.truncatePromptTokens = 10
    #expect(try await engine.answer(truncated).prompt.count == 10)
    engine.drain()
    #expect(await problem(textRequest("a"))?.status == 503)
    await engine.stop()
    #expect(await problem(textRequest("a"))?.status == 503)
  }

  @Test func stoppingEndsOpenStreamsWithAnError() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let stream = try await engine.generate(
      textRequest("Once") {
        $0.maxTokens = 500; $0.ignoreEos = true
      })
    async let outcome = Result<Void, any Error> { for try await _ in stream {} }
    while engine.statistics.runningRequests == 0 { await Task.yield() }
    await engine.stop()
    guard case .failure(let error) = await outcome else {
      Issue.record("the stream ended as if nothing had happened")
      return
    }
    #expect((error as? RequestError)?.status == 503)
  }

  @Test func nobodyWaitsForAnEngineThatStoppedMeanwhile() async throws {
    for _ in 0..<4 {
      let engine = try await Engine.start(storyConfiguration())
      async let requests = withTaskGroup(of: Bool.self) { group in
        for _ in 0..<32 { group.addTask { (try? await engine.answer(textRequest("Once upon a time"))) != nil } }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      async let stop: Void = engine.stop()
      // Each one ends, answered or refused.
      #expect((0...32).contains(await requests))
      await stop
      #expect(await engine.resetPrefixCache() == false)
    }
  }

  @Test func aBurstDoesNotPassTheLimitOfTheQueue() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.maxSequences = 1
        $0.maxQueuedRequests = 2
      })
    let tokens = 490
    let streams = await withTaskGroup(of: AsyncThrowingStream<GenerationEvent, any Error>?.self) { group in
      for _ in 0..<40 {
        group.addTask {
          try? await engine.generate(
            textRequest("Once upon a time") {
              $0.maxTokens = tokens
              $0.ignoreEos = true
            })
        }
      }
      return await group.reduce(into: []) { all, stream in if let stream { all.append(stream) } }
    }
    // One runs and two wait; one more for each that has ended meanwhile.
    let ended = engine.statistics.generationTokens / tokens
    #expect(streams.count >= 3 && streams.count <= 3 + ended)
    await engine.stop()
  }

  @Test func drainingLetsABeamSearchEnd() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let stream = try await engine.generate(
      textRequest("Once upon a time") {
        $0.n = 3
        $0.useBeamSearch = true
        $0.maxTokens = 40
        $0.ignoreEos = true
      })
    engine.drain()
    var finished = 0
    for try await case .delta(let delta) in stream where delta.finish != nil { finished += 1 }
    #expect(finished == 3)
    await engine.stop()
  }

  @Test func promptLogprobsThatNoAnswerCanCarryAreRefused() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.maxModelLength = 2048
        $0.allowLongMaxModelLength = true
      })
    let most = (1 << 22) / engine.model.vocabularySize
    try #require(most + 1 < engine.model.maxModelLength)
    var request = textRequest("") {
      $0.promptLogprobs = -1
      $0.maxTokens = 1
    }
    request.prompt = .tokens([TokenID](repeating: 5, count: most + 1))
    await #expect { _ = try await engine.generate(request) } throws: { ($0 as? RequestError)?.status == 400 }
    await engine.stop()
  }

  @Test func aStepThatCouldReportTooManyLogprobsIsRefusedAtTheStart() {
    #expect {
      try StartPlan(
        storyConfiguration {
          $0.maxBatchedTokens = 1 << 24
        })
    } throws: { error in (error as? EngineStartError)?.exitCode == 2 && "\(error)".contains("--max-logprobs") }
  }

  @Test func beamsAreBestFirstAndAtLeastAsLikelyAsGreedy() async throws {
    let engine = try await Engine.start(storyConfiguration())
    let request = textRequest("Once upon a time") {
      $0.useBeamSearch = true
      $0.n = 4
      $0.maxTokens = 10
    }
    var sums: [Float] = []
    var texts: Set<String> = []
    for try await event in try await engine.generate(request) {
      if case .delta(let delta) = event {
        sums.append(delta.cumulativeLogprob! / Float(delta.tokens.count))
        texts.insert(delta.text)
      }
    }
    #expect(sums.count == 4 && texts.count == 4)
    for (better, worse) in zip(sums, sums.dropFirst()) { #expect(better >= worse) }
    let greedy = try await engine.answer(
      textRequest("Once upon a time") {
        $0.maxTokens = 10; $0.logprobs = 0
      })
    let mean = greedy.choices[0].logprobBits.map { Float(bitPattern: $0) }.reduce(0, +) / 10
    #expect(sums[0] >= mean - 1e-4)
    try await idle(engine)
    await engine.stop()
  }

  @Test(arguments: [GenerationRequest.TruncationSide.left, .right])
  func aTruncatedPromptsTextIsThatOfItsTokens(side: GenerationRequest.TruncationSide) async throws {
    let engine = try await Engine.start(storyConfiguration())
    var request = textRequest("Once upon a time") { $0.maxTokens = 1 }
    request.truncatePromptTokens = 2
    request.truncationSide = side
    for try await event in try await engine.generate(request) {
      guard case .started(let info) = event else { continue }
      #expect(info.promptTokens.count == 2)
      #expect(info.promptText == (side == .left ? " a time" : "Once upon"))
    }
    await engine.stop()
  }

  @Test func aModelThatCannotBeLoadedSaysWhy() async throws {
    var configuration = EngineConfiguration()
    configuration.modelFolder = "/nowhere/at/all"
    await #expect { _ = try await Engine.start(configuration) } throws: {
      ($0 as? EngineStartError)?.exitCode == 3 && "\($0)".contains("/nowhere/at/all")
    }
    await #expect { _ = try await Engine.start(storyConfiguration { $0.blockSize = 17 }) } throws: {
      ($0 as? EngineStartError)?.exitCode == 2
    }
    await #expect { _ = try await Engine.start(storyConfiguration { $0.kernelSet = "abacus" }) } throws: {
      ($0 as? EngineStartError)?.exitCode == 2
    }
  }

  @Test func aQuantisedCheckpointIsNotRoundedAgain() async throws {
    let folder = "/tmp/swerve-engine-\(UInt64.random(in: 0 ... .max))"
    try #require(mkdir(folder, 0o700) == 0)
    let path = folder + "/config.json"
    defer {
      unlink(path)
      rmdir(folder)
    }
    let file = try #require(fopen(path, "w"))
    fputs(#"{"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "awq"}}"#, file)
    fclose(file)
    var configuration = EngineConfiguration()
    configuration.modelFolder = folder
    configuration.quantization = .int8
    await #expect { _ = try await Engine.start(configuration) } throws: {
      ($0 as? EngineStartError)?.exitCode == 2 && "\($0)".contains("already quantised (\"awq\")")
    }
  }

  @Test(arguments: EngineConfiguration.Quantization.allCases)
  func aStartSaysWhatWeightsAreRoundedTo(method: EngineConfiguration.Quantization) throws {
    let plain = try StartPlan(storyConfiguration())
    let plan = try StartPlan(storyConfiguration { $0.quantization = method })
    let weights = try #require(plan.report.memoryTable.first { $0.contains("  weights") })
    #expect(weights.contains("(\(method.rawValue)") == (method != .none))
    #expect((plan.report.memory.weights < plain.report.memory.weights) == (method != .none))
  }
}

extension Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do {
      self = .success(try await body())
    } catch {
      self = .failure(error)
    }
  }
}
