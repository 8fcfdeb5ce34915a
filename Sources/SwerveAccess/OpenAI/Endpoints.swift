import HTTPTypes
import Hummingbird
import SwerveCore

/// `POST /v1/completions`.
enum Completions {
  @Sendable static func answer(_ exchange: Exchange) async throws -> Response {
    try exchange.state.admit()
    let body = try await exchange.json()
    let key = try exchange.idempotencyKey()
    var asked = try CompletionRequest(
      body: body, model: exchange.engine.model, configuration: exchange.configuration)
    asked.options.tenant = exchange.caller.tenant(named: asked.options.tenant)
    asked.options.idempotency = exchange.idempotency(body, key: key)
    let id = exchange.responseID("cmpl-", asked.options, key: key)
    let log = RequestLog(id: id, state: exchange.state)
    log.received(asked.params)
    let run = GenerationRun(asked.requests(id: id), engine: exchange.engine)
    exchange.attach(run, options: asked.options)

    let shape = AnswerShape(asked.options, id: id, n: asked.n, logprobs: asked.logprobs, exchange.configuration)
    let echo = asked.echo ? EchoBuilder(engine: exchange.engine, logprobs: asked.logprobs) : nil
    if asked.options.isStreaming {
      let writer = CompletionChunkWriter(shape: shape, prompts: asked.prompts.count)
      var stream = EventStream(writer: writer, shape: shape, prompts: asked.prompts.count, echo: echo)
      stream.numbers = exchange.eventNumbers(key: key, choices: asked.prompts.count * asked.params.n)
      return try await StreamedAnswer.response(
        stream, of: run, prompts: asked.prompts.count, exchange: exchange, log: log)
    }
    var answer = try await run.collect(prompts: asked.prompts.count, choices: asked.params.n)
    log.finished(answer)
    let isLossy = answer.hasReadLossy
    answer.keepBest(asked.n)
    var echoes: [PromptEcho?] = []
    for info in answer.infos {
      if let echo, let info { echoes.append(await echo.echo(of: info)) } else { echoes.append(nil) }
    }
    let form = CompletionAnswer(shape: shape, promptLogprobs: asked.options.promptLogprobs)
    return Response.json(form.write(answer, echoes: echoes)).telling(lossyKV: isLossy)
  }
}

/// `POST /v1/chat/completions`.
enum ChatCompletions {
  @Sendable static func answer(_ exchange: Exchange) async throws -> Response {
    try exchange.state.admit()
    let configuration = exchange.configuration
    let body = try await exchange.json()
    let key = try exchange.idempotencyKey()
    var asked = try ChatRequest(
      body: body, model: exchange.engine.model, configuration: configuration)
    asked.options.tenant = exchange.caller.tenant(named: asked.options.tenant)
    asked.options.idempotency = exchange.idempotency(body, key: key)
    let id = exchange.responseID("chatcmpl-", asked.options, key: key)
    let log = RequestLog(id: id, state: exchange.state)
    log.received(asked.params)
    let run = GenerationRun([asked.request(id: id)], engine: exchange.engine)
    exchange.attach(run, options: asked.options)

    let shape = AnswerShape(asked.options, id: id, n: asked.params.n, logprobs: asked.logprobs, configuration)
    if asked.options.isStreaming {
      let writer = ChatChunkWriter(
        shape: shape, role: configuration.responseRole, echoedText: asked.echoedText,
        returnsPromptText: asked.returnsPromptText)
      var stream = EventStream(writer: writer, shape: shape, prompts: 1, echo: nil)
      stream.numbers = exchange.eventNumbers(key: key, choices: asked.params.n)
      return try await StreamedAnswer.response(stream, of: run, prompts: 1, exchange: exchange, log: log)
    }
    let answer = try await run.collect(prompts: 1, choices: asked.params.n)
    log.finished(answer)
    let form = ChatAnswer(
      shape: shape, role: configuration.responseRole, echoedText: asked.echoedText,
      promptLogprobs: asked.options.promptLogprobs, returnsPromptText: asked.returnsPromptText)
    return Response.json(form.write(answer)).telling(lossyKV: answer.hasReadLossy)
  }
}

extension Response {
  /// With the header that tells of keys and values of a lower precision, where some were read.
  func telling(lossyKV isLossy: Bool) -> Response {
    var response = self
    if isLossy { response.headers[.xSwerveLossyKV] = "true" }
    return response
  }
}

extension AnswerShape {
  init(
    _ options: RequestOptions, id: String, n: Int, logprobs: LogprobStyle?, _ configuration: ServerConfiguration
  ) {
    let head = AnswerHead(
      id: id, created: WallClock.unixSeconds(), model: options.model, fingerprint: configuration.fingerprint,
      serviceTier: options.serviceTier)
    self.init(
      head: head, n: n, logprobs: logprobs, returnsTokenIDs: options.returnsTokenIDs,
      includesUsage: options.includesUsage, includesContinuousUsage: options.includesContinuousUsage,
      streamInterval: options.streamInterval)
  }
}
