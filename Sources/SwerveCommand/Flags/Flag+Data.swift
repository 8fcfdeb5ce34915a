extension Flag {
  /// `data`.
  static let dataChanges: [Flag] = [
    .string("url", .data, \.data.url, default: "http://127.0.0.1:8000", "base address of the server"),
    .string("api-key", .data, \.data.apiKey, environment: ["OPENAI_API_KEY"], isSecret: true, "admin key for --url"),
    .bool("insecure", .data, \.data.insecure, default: false, "accept any certificate"),
    .double(
      "timeout", .data, \.data.timeout, default: 30, "drain: seconds for running sequences to end where they are"),
  ]
}
