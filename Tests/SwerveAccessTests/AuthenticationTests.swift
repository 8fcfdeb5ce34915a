import HTTPTypes
import SwerveAccess
import SwerveCore
import Testing

@Suite struct AuthenticationTests {
  enum Key: String, CaseIterable, Sendable { case none, wrong, inference, admin }
  enum Scheme: CaseIterable, Sendable { case bearer, lowerBearer, xAPIKey, apiKey }

  static let open = [
    (HTTPRequest.Method.get, "/health"), (.get, "/v1/health"), (.get, "/ping"), (.post, "/ping"), (.get, "/version"),
    (.get, "/ready"), (.get, "/metrics"),
  ]
  static let protected = [
    (HTTPRequest.Method.get, "/v1/models"), (.get, "/v1/models/fake"), (.post, "/v1/completions"),
    (.post, "/v1/chat/completions"), (.post, "/tokenize"), (.post, "/detokenize"), (.get, "/load"),
    (.post, "/v1/embeddings"), (.get, "/nowhere"), (.delete, "/v1/models"),
  ]
  static let admin = [(HTTPRequest.Method.post, "/reset_prefix_cache")]

  private func headers(_ key: Key, _ scheme: Scheme) -> HTTPFields {
    if key == .none { return [:] }
    let value =
      switch key {
      case .none: ""
      case .wrong: "key-that-nobody-has"
      case .inference: "inference-key"
      case .admin: "admin-key"
      }
    return switch scheme {
    case .bearer: [.authorization: "Bearer \(value)"]
    case .lowerBearer: [.authorization: "bearer \(value)"]
    case .xAPIKey: [HTTPField.Name("x-api-key")!: value]
    case .apiKey: [HTTPField.Name("api-key")!: value]
    }
  }

  @Test(arguments: Key.allCases, Scheme.allCases)
  func everyRouteAsksForItsKey(_ key: Key, _ scheme: Scheme) async throws {
    let headers = headers(key, scheme)
    let configure: (inout ServerConfiguration) -> Void = {
      $0.apiKeys = ["inference-key", "another"]
      $0.adminKeys = ["admin-key"]
    }
    try await InProcess.run(FakeEngine(), configure) { server in
      for (method, path) in Self.open {
        #expect(try await server.send(method, path, headers).status == 200, "\(path)")
      }
      for (method, path) in Self.protected {
        let answer = try await server.send(method, path, headers, body: method == .post ? "{}" : nil)
        let isRefused = key == .none || key == .wrong
        #expect((answer.status == 401) == isRefused, "\(path): \(answer.body)")
        guard isRefused else { continue }
        #expect(answer.headers[.wwwAuthenticate] == "Bearer")
        #expect(try answer.json["error"]?["type"] == "authentication_error")
        #expect(try answer.json["error"]?["code"] == "invalid_api_key")
      }
      for (method, path) in Self.admin {
        let expected = [Key.none: 401, .wrong: 401, .inference: 403, .admin: 200][key]
        let answer = try await server.send(method, path, headers)
        #expect(answer.status == expected, "\(path)")
        if expected == 403 { #expect(try answer.json["error"]?["type"] == "permission_error") }
      }
      #expect(try await server.send(.options, "/v1/models").status == 405)
    }
  }

  @Test func withoutAdminKeysASwitchDecides() async throws {
    try await InProcess.run { server async throws in
      #expect(try await server.send(.post, "/reset_prefix_cache").status == 403)
      #expect(server.engine.resets == 0)
    }
    try await InProcess.run(FakeEngine(), { $0.enablesAdminEndpoints = true }) { server async throws in
      let answer = try await server.send(.post, "/reset_prefix_cache")
      #expect(answer.body == #"{"success":true}"#)
      #expect(server.engine.resets == 1)
    }
    try await InProcess.run(
      FakeEngine(),
      {
        $0.enablesAdminEndpoints = true
        $0.apiKeys = ["k"]
      }
    ) { server async throws in
      #expect(try await server.send(.post, "/reset_prefix_cache").status == 401)
      #expect(try await server.send(.post, "/reset_prefix_cache", [.authorization: "Bearer k"]).status == 200)
    }
  }

  @Test func withoutKeysAnybodyMayAskAndAKeyDoesNoHarm() async throws {
    try await InProcess.run { server async throws in
      #expect(try await server.send(.get, "/v1/models").status == 200)
      #expect(try await server.send(.get, "/v1/models", [.authorization: "Bearer anything"]).status == 200)
    }
  }

  @Test func metricsCanBeClosed() async throws {
    try await InProcess.run(
      FakeEngine(),
      {
        $0.apiKeys = ["k"]
        $0.opensMetrics = false
      }
    ) { server async throws in
      #expect(try await server.send(.get, "/metrics").status == 401)
      #expect(try await server.send(.get, "/metrics", [.authorization: "Bearer k"]).status == 200)
    }
  }

  @Test func theRootPathIsStrippedBeforeTheKeyIsChecked() async throws {
    try await InProcess.run(
      FakeEngine(),
      {
        $0.rootPath = "/api/"
        $0.apiKeys = ["k"]
      }
    ) { server async throws in
      #expect(try await server.send(.get, "/api/health").status == 200)
      #expect(try await server.send(.get, "/health").status == 200)
      #expect(try await server.send(.get, "/api/v1/models").status == 401)
      #expect(try await server.send(.get, "/api/v1/models", [.authorization: "Bearer k"]).status == 200)
      #expect(try await server.send(.get, "/apiv1/models", [.authorization: "Bearer k"]).status == 404)
    }
  }

  @Test func browsersAreAnsweredOnlyFromAllowedOrigins() async throws {
    try await InProcess.run { server in
      let answer = try await server.send(.get, "/v1/models", [.origin: "http://a"])
      #expect(answer.headers[.accessControlAllowOrigin] == nil)
    }
    try await InProcess.run(
      FakeEngine(),
      {
        $0.apiKeys = ["k"]
        $0.allowedOrigins = ["http://a"]
        $0.allowsCredentials = true
      }
    ) { server in
      let preflight = try await server.send(
        .options, "/v1/chat/completions",
        [.origin: "http://a", .accessControlRequestMethod: "POST", .accessControlRequestHeaders: "authorization"])
      #expect(preflight.status == 200)
      #expect(preflight.headers[.accessControlAllowOrigin] == "http://a")
      #expect(preflight.headers[.accessControlAllowHeaders] == "authorization")
      #expect(preflight.headers[.accessControlAllowMethods]?.contains("POST") == true)
      #expect(preflight.headers[.accessControlAllowCredentials] == "true")
      let other = try await server.send(
        .options, "/v1/models", [.origin: "http://b", .accessControlRequestMethod: "GET"])
      #expect(other.status == 400)
      // Also a refusal must be readable for the page that caused it.
      let refused = try await server.send(.get, "/v1/models", [.origin: "http://a"])
      #expect(refused.status == 401)
      #expect(refused.headers[.accessControlAllowOrigin] == "http://a")
      #expect(refused.headers[.vary] == "Origin")
    }
  }
}
