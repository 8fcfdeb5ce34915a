extension Flag {
  /// `top`.
  static let top: [Flag] = [
    .string("url", .top, \.top.url, default: "http://127.0.0.1:8000", "base address of the server"),
    .double("interval", .top, \.top.interval, default: 2, "seconds between two looks, 0.1 … 3600"),
    .bool("once", .top, \.top.once, default: false, "print one table and end"),
    .string("api-key", .top, \.top.apiKey, environment: ["OPENAI_API_KEY"], isSecret: true, "key for --url"),
    .bool("insecure", .top, \.top.insecure, default: false, "accept any certificate"),
  ]
}
