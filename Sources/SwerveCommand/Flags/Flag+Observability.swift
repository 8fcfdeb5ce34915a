import SwerveAccess
import SwerveCore

extension Flag {
  /// Logs, metrics, traces of the server.
  static let observability: [Flag] =
    quietObservability + [
      .bool(
        "enable-log-requests", .observability, \.server.logsRequests, default: false,
        aliases: ["!disable-log-requests"], "log every request's parameters"),
      .bool("enable-log-outputs", .observability, \.server.logsOutputs, default: false, "log outputs"),
      .int("max-log-len", .observability, \.server.maxLogLength, "characters of prompts and outputs in logs"),
      .bool(
        "disable-access-log", .observability, \.server.logsAccess, default: false,
        aliases: ["disable-uvicorn-access-log"], inverted: true, "no line per HTTP request"),
      .custom("disable-access-log-for-endpoints", .list, .observability, "paths without such a line") {
        settings, value in
        guard case .list(let paths) = value else { return }
        settings.server.quietEndpoints = Set(paths.flatMap { $0.split(separator: ",").map(String.init) })
      },
      .custom("disable-log-stats", .bool, .observability, default: "false", "no statistics lines") { settings, value in
        settings.server.statisticsInterval = value == .bool(true) ? 0 : 10
      },
      .later(
        "log-redact", .string, .observability, default: "prompts,outputs,keys",
        why: "prompts, outputs and keys are never logged unless asked for", "what is kept out of logs"),
      .later("aggregate-engine-logging", .bool, .observability, default: "false", why: "there is one engine", ""),
      .later("otlp-traces-endpoint", .string, .observability, default: "null", why: noTraces, "where traces go"),
      .later("collect-detailed-traces", .string, .observability, default: "null", why: noTraces, "more spans"),
      .later("trace-content", .bool, .observability, default: "false", why: noTraces, "prompts in traces"),
      .later(
        "custom-histogram-buckets", .json, .observability, default: "{}", allowed: ["null"],
        why: "histograms have the documented buckets", "other buckets"),
      .later(
        "legacy-metrics", .bool, .observability, default: "true", why: "older metric names are always exported",
        "export older metric names"),
      .ignored(
        "show-hidden-metrics-for-version", .string, .observability, why: "no metric is hidden", "show removed metrics"),
      .later("enable-mfu-metrics", .bool, .observability, default: "false", why: "work is not estimated", "estimates"),
      .later(
        "per-request-spec-decode-metrics", .words("none", "summary", "detailed"), .observability, default: "none",
        why: "speculation is counted for the whole engine", "speculation per request"),
      .later("profiler-config", .json, .observability, default: "{}", allowed: ["null"], why: "use perf", "profiler"),
      .later(
        "enable-logging-iteration-details", .bool, .observability, default: "false", why: "steps are not logged", ""),
      .later(
        "device-monitor-interval", .double, .observability, default: "5", why: "the CPU is not watched", "seconds"),
      .later("alert-rules", .string, .observability, default: "null", why: noAlerts, "file of rules"),
      .later("alert-webhook", .string, .observability, default: "null", why: noAlerts, "where alerts go"),
      .later("request-log", .string, .observability, default: "null", why: "there is no audit file", "audit file"),
      .later("crash-dump-dir", .string, .observability, default: "null", why: "there are no dumps", "folder of dumps"),
    ]

  /// What every command that runs an engine can be told about its log.
  static let quietObservability: [Flag] = [
    .custom(
      "log-level",
      .choice([
        "trace": "trace", "debug": "debug", "info": "info", "notice": "notice", "warning": "warning",
        "warn": "warning", "error": "error", "critical": "critical",
      ]), .observability, default: "info", environment: ["VLLM_LOGGING_LEVEL"], "trace … critical"
    ) { $0.log.level = $1.text },
    .custom(
      "log-level-http", .string, .observability, default: "as --log-level", aliases: ["uvicorn-log-level"],
      "level of HTTP lines"
    ) { $0.log.httpLevel = $1.text.lowercased() },
    .custom("log-format", .words("text", "json"), .observability, default: "text", "text or json") {
      if let format = LogSettings.Format(rawValue: $1.text) { $0.log.format = format }
    },
    .double(
      "watchdog-timeout", .observability, \.engine.watchdogSeconds, default: 300,
      "seconds without progress after which the engine counts as stalled"),
  ]

  private static let noTraces = "there are no traces"
  private static let noAlerts = "alert on the metrics instead"
}
