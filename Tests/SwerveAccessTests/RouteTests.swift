import HTTPTypes
import SwerveAccess
import SwerveCore
import Testing

@Suite struct RouteTests {
  @Test func unknownRoutesAndWrongVerbsAreErrorObjects() async throws {
    try await InProcess.run { server in
      let missing = try await server.send(.get, "/v2/everything")
      #expect(missing.status == 404)
      #expect(try missing.json["error"]?["type"] == "NotFoundError")
      #expect(try missing.json["error"]?["code"] == 404)
      let wrong = try await server.send(.get, "/v1/completions")
      #expect(wrong.status == 405)
      #expect(wrong.headers[.allow] == "POST")
      #expect(try wrong.json["error"]?["type"] == "MethodNotAllowedError")
      let known = try await server.send(.post, "/v1/embeddings", body: "{}")
      #expect(known.status == 501)
      #expect(try known.json["error"]?["type"] == "NotImplementedError")
      #expect(try await server.send(.get, "/v1/models/").status == 200)
      #expect(try await server.send(.get, "/version/?x=1").status == 200)
    }
  }

  @Test func modelsAreListedByEveryServedName() async throws {
    try await InProcess.run { server in
      let list = try await server.send(.get, "/v1/models").json
      #expect(list["object"] == "list")
      #expect(list["data"]?.array?.map { $0["id"] } == ["fake", "org/fake-alias"])
      let entry = try #require(list["data"]?[0])
      #expect(entry["owned_by"] == "swerve")
      #expect(entry["created"] == 1_700_000_000)
      #expect(entry["root"] == "/models/fake")
      #expect(entry["parent"] == .null)
      #expect(entry["max_model_len"] == 4096)
      #expect(entry["permission"]?[0]?["object"] == "model_permission")
      for path in ["/v1/models/org/fake-alias", "/v1/models/org%2Ffake-alias"] {
        #expect(try await server.send(.get, path).json["id"] == "org/fake-alias")
      }
      let missing = try await server.send(.get, "/v1/models/other")
      #expect(missing.status == 404)
      #expect(try missing.json["error"]?["code"] == "model_not_found")
      #expect(try missing.message == "The model `other` does not exist.")
      let asked = try await server.complete(["model": "other"])
      #expect(asked.status == 404)
      #expect(try asked.param == "model")
    }
    try await InProcess.run(FakeEngine(), { $0.hidesModelRoot = true }) { server in
      let list = try await server.send(.get, "/v1/models").json
      #expect(list["data"]?[0]?["root"] == "fake")
    }
  }

  @Test func tokensGoBothWays() async throws {
    try await InProcess.run { server in
      let plain = try await server.post("/tokenize", ["prompt": "ab"])
      #expect(plain.body == #"{"count":3,"max_model_len":4096,"tokens":[1,97,98],"token_strs":null}"#)
      let bare = try await server.post(
        "/tokenize", ["prompt": "ab", "add_special_tokens": false, "return_token_strs": true])
      #expect(bare.body == #"{"count":2,"max_model_len":4096,"tokens":[97,98],"token_strs":["a","b"]}"#)
      let chat = try await server.post("/tokenize", ["messages": [["role": "user", "content": "x"]]])
      #expect(try chat.json["tokens"] == [120])
      let llama = try await server.post("/tokenize", ["content": "a", "add_special": true, "with_pieces": true])
      #expect(try llama.json["tokens"] == [["id": 1, "piece": "\u{1}"], ["id": 97, "piece": "a"]])
      #expect(try await server.post("/tokenize", [:]).param == "prompt")
      #expect(try await server.post("/tokenize", ["prompt": 1]).param == "prompt")

      let text = try await server.post("/detokenize", ["tokens": [97, 98]])
      #expect(try text.json["prompt"] == "ab")
      #expect(try text.json["content"] == "ab")
      for tokens: JSON in [nil, "x", ["x"], [-1], [256]] {
        let answer = try await server.post("/detokenize", ["tokens": tokens])
        #expect(answer.status == 400)
        #expect(try answer.param?.hasPrefix("tokens") == true)
      }
    }
  }

  @Test func onlyJSONIsTaken() async throws {
    try await InProcess.run { server in
      for type in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        let answer = try await server.send(.post, "/v1/completions", [.contentType: type], body: #"{"prompt":"a"}"#)
        #expect(answer.status == 200)
      }
      for type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let answer = try await server.send(.post, "/v1/completions", [.contentType: type], body: #"{"prompt":"a"}"#)
        #expect(answer.status == 400)
        #expect(try answer.message == "Unsupported Media Type: Only 'application/json' is allowed")
      }
      for body in ["", "{", "[1]", "null", "\"x\"", "{\"prompt\":}", "\u{0}", String(repeating: "[", count: 5000)] {
        let answer = try await server.send(.post, "/v1/completions", body: body)
        #expect(answer.status == 400, "\(body)")
        #expect(try answer.json["error"]?["type"] == "BadRequestError")
      }
    }
  }

  @Test func healthFollowsTheEngine() async throws {
    try await InProcess.run { server in
      for path in ["/health", "/v1/health", "/ping", "/ready"] {
        let answer = try await server.send(.get, path)
        #expect(answer.status == 200)
        #expect(answer.body.isEmpty)
      }
      #expect(try await server.send(.head, "/health").status == 200)
      for health: EngineHealth in [.loading, .draining, .dead("at /secret/path 0xdeadbeef"), .stalled] {
        server.engine.setHealth(health)
        let answer = try await server.send(.get, "/health")
        #expect(answer.status == 503)
        #expect(answer.headers[.retryAfter] != nil)
        #expect(!answer.body.contains("secret"))
        if case .loading = health { #expect(try answer.message == "Loading model") }
      }
    }
  }

  @Test func requestIDsAreTakenAndReturned() async throws {
    let engine = FakeEngine()
    try await InProcess.run(engine, { $0.addsRequestIDHeader = true }) { server in
      let name = HTTPField.Name("X-Request-Id")!
      let own = try await server.post("/v1/completions", ["prompt": "a", "request_id": "body"], [name: "mine"])
      #expect(own.headers[name] == "mine")
      #expect(try own.json["id"] == "cmpl-mine")
      let fresh = try await server.send(.get, "/version")
      #expect(fresh.headers[name]?.wholeMatch(of: #/[0-9a-f]{32}/#) != nil)
      let unusable = try await server.send(.get, "/version", [name: String(repeating: "x", count: 500)])
      #expect(unusable.headers[name]?.count == 32)
    }
  }

  /// What an engine throws that is no `RequestError` may name anything; none of it reaches a client.
  @Test func faultsKeepTheirCauseToThemselves() async throws {
    struct Fault: Error, CustomStringConvertible {
      var description: String { "read /srv/models/x.safetensors at 0x7fff1234 failed" }
    }
    let engine = FakeEngine(failure: Fault()) { request throws(RequestError) in [Script.started(request)] }
    try await InProcess.run(engine) { server in
      #expect(try await server.complete([:]).status == 500)
      let answer = try await server.complete(["stream": true])
      for text in [try await server.complete([:]).body, answer.body] {
        #expect(text.contains("InternalServerError"))
        #expect(!text.contains("/srv") && !text.contains("0x"))
      }
    }
  }

  @Test func longMessagesAreCut() async throws {
    let engine = FakeEngine { _ throws(RequestError) in
      throw .badRequest(String(repeating: "x", count: 5000))
    }
    try await InProcess.run(engine) { server async throws in
      #expect(try await server.complete([:]).message.count == 1000)
    }
  }

  @Test func streamingCanBeSwitchedOff() async throws {
    try await InProcess.run(FakeEngine(), { $0.allowsStreaming = false }) { server async throws in
      #expect(try await server.complete(["stream": true]).param == "stream")
      #expect(try await server.complete(["stream": false]).status == 200)
    }
  }
}
