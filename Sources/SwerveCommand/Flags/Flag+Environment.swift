import SwerveAccess
import SwerveCore

extension Flag {
  /// Settings that only the environment has. Each is read as `SWERVE_X` and as `VLLM_X`; the first wins. Rows are named
  /// by the part after the prefix, in the form of a flag.
  static let environmentOnly: [Flag] = [
    .custom("cpu-kvcache-space", .gibibytes, .environment, default: "0", "GiB of KV cache; 0 = from the share") {
      settings, value in
      if case .int(let bytes) = value, bytes > 0, settings.engine.kvCacheBytes == nil {
        settings.engine.kvCacheBytes = bytes
      }
    },
    .int("max-n-sequences", .environment, \.engine.maxSequencesPerRequest, default: 16384, "largest n"),
    .int("max-stop-strings", .environment, \.engine.maxStopStrings, default: 4, "stop strings of a request"),
    .int("max-num-bad-words", .environment, \.engine.maxBadWords, default: 128, "bad words of a request"),
    .int("max-completion-prompts", .environment, \.server.maxCompletionPrompts, default: 1024, "prompts of a request"),
    .double("chat-template-render-timeout", .environment, \.engine.templateTimeout, default: 30, "seconds"),
    .double("log-stats-interval", .environment, \.server.statisticsInterval, default: 10, "seconds"),
    .double("http-timeout-keep-alive", .environment, \.server.keepAliveTimeout, default: 5, "seconds"),
    .string("logging-prefix", .environment, \.log.prefix, default: "", "put in front of log lines"),
    .custom("logging-stream", .string, .environment, default: "stderr", "stdout or stderr") { settings, value in
      switch value.text.lowercased() {
      case "stdout", "ext://sys.stdout": settings.log.toStandardError = false
      case "stderr", "ext://sys.stderr": settings.log.toStandardError = true
      default: throw FlagError("must be stdout or stderr, not \(value.text)")
      }
    },
    .custom("logging-color", .string, .environment, default: "auto", "auto, 0 or 1") { settings, value in
      if value.text.lowercased() == "auto" { return }
      guard let color = Flag.Kind.bool(value.text) else { throw FlagError("must be auto, 0 or 1, not \(value.text)") }
      settings.log.color = color
    },
    .later("configure-logging", .bool, .environment, default: "true", why: "logging is always configured", ""),
    .later("logging-config-path", .string, .environment, default: "", why: "use --log-level and --log-format", ""),
    .later(
      "keep-alive-on-engine-death", .bool, .environment, default: "false", why: "the server ends with its engine", ""),
    .bool(
      "allow-long-max-model-len", .environment, \.engine.allowLongMaxModelLength, default: false,
      "--max-model-len may exceed the model's own limit"),
    .later("allow-runtime-lora-updating", .bool, .environment, default: "false", why: "there are no adapters", ""),
    .later("enable-responses-api-store", .bool, .environment, default: "false", why: "responses are not kept", ""),
    .ignored("host-ip", .string, .environment, why: "processes of one host share memory", ""),
    .ignored("port", .string, .environment, why: "processes of one host share memory", ""),
    .ignored("loopback-ip", .string, .environment, why: "processes of one host share memory", ""),
    .ignored("cpu-omp-threads-bind", .string, .environment, why: "threads use the allowed CPUs", ""),
    .ignored("cpu-num-of-reserved-cpu", .string, .environment, why: "use OMP_NUM_THREADS", ""),
    .ignored("pp-layer-partition", .string, .environment, why: "use --pipeline-split", ""),
    .ignored("engine-ready-timeout-s", .string, .environment, why: "starting has no deadline", ""),
    .ignored("execute-model-timeout-seconds", .string, .environment, why: "use --watchdog-timeout", ""),
    .ignored("regex-compilation-timeout-s", .string, .environment, why: "no regex comes from clients", ""),
    .ignored("tool-parse-regex-timeout-seconds", .string, .environment, why: "tool calls are not parsed", ""),
    .ignored("cache-root", .string, .environment, why: "nothing is cached but the Hub's files", ""),
    .ignored("config-root", .string, .environment, why: "use --config", ""),
    .ignored("nixl-side-channel-host", .string, .environment, why: "use kv_ip and kv_port of --kv-transfer-config", ""),
    .ignored("nixl-side-channel-port", .string, .environment, why: "use kv_ip and kv_port of --kv-transfer-config", ""),
    .ignored("plugins", .string, .environment, why: "there are no plugins", ""),
    .ignored("target-device", .string, .environment, why: "models run on the CPU", ""),
    .ignored("use-v1", .string, .environment, why: "there is one engine", ""),
    .ignored("worker-multiproc-method", .string, .environment, why: "workers are processes of their own", ""),
    .ignored("attention-backend", .string, .environment, why: "attention has one implementation", ""),
    .custom("do-not-track", .string, .environment, "there is no telemetry") { _, _ in },
    .custom("no-usage-stats", .string, .environment, "there is no telemetry") { _, _ in },
  ]

  /// Variables with our prefix that are read by others: the package's manifest and scripts.
  static let foreignEnvironment: Set<String> = ["SWERVE_INNER", "SWERVE_PORTABLE"]
}
