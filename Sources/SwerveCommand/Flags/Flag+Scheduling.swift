import SwerveAccess
import SwerveCore

extension Flag {
  /// What runs in a step, and what waits.
  static let scheduling: [Flag] = [
    .int(
      "max-num-batched-tokens", .scheduling, \.engine.maxBatchedTokens, default: "2048, offline 4096",
      "tokens per step"),
    .int(
      "max-num-seqs", .scheduling, \.engine.maxSequences, default: "128, offline 256",
      aliases: ["max-num-sequences", "parallel", "max-running-requests"], short: ["np"], "sequences per step"),
    .int(
      "max-num-queued-reqs", .scheduling, \.engine.maxQueuedRequests, default: "no limit",
      "requests that may wait; more are answered 503"),
    .later(
      "max-num-queued-tokens", .int, .scheduling, default: "null", why: "the queue is limited by --max-num-queued-reqs",
      "prompt tokens that may wait"),
    .later(
      "max-num-active-seqs", .int, .scheduling, default: "null", why: "--max-num-seqs is the only limit",
      "tighter admission"),
    .later(
      "max-num-scheduled-tokens", .int, .scheduling, default: "null", why: "--max-num-batched-tokens is the only limit",
      "tighter issue"),
    .bool(
      "enable-chunked-prefill", .scheduling, \.engine.enableChunkedPrefill, default: true,
      "compute long prompts in pieces between decodes"),
    .int(
      "long-prefill-token-threshold", .scheduling, \.engine.longPrefillThreshold, default: 0,
      "longest piece of one prompt per step; 0 = the token budget"),
    .later(
      "long-prefill-token-threshold-adaptive", .bool, .scheduling, default: "false",
      why: "the threshold is a fixed number", "adapt the threshold to the load"),
    .later(
      "scheduling-policy", .words("fcfs", "priority", "fair", "slo"), .scheduling, default: "fcfs",
      why: "requests run in the order they came", "who runs first"),
    .later("scheduler-cls", .string, .scheduling, default: "null", why: "the scheduler is built in", "extension id"),
    .later(
      "scheduler-reserve-full-isl", .bool, .scheduling, default: "true",
      why: "a request is admitted when its whole prompt fits", "admit only when the whole prompt fits"),
    .double("watermark", .scheduling, \.engine.watermark, default: 0, "share of blocks kept free when admitting"),
    .later(
      "async-scheduling", .bool, .scheduling, default: "false", why: "a step is planned after the one before it ended",
      "plan the next step while one runs"),
    .int("stream-interval", .scheduling, \.server.streamInterval, default: 1, "tokens per streamed chunk"),
    .later("sla-config", .json, .scheduling, default: "{}", allowed: ["null"], why: "there are no classes", "classes"),
    .later("request-timeout", .double, .scheduling, default: "none", why: "requests have no deadline", "seconds"),
    .later("queue-timeout", .double, .scheduling, default: "none", why: "requests wait as long as needed", "seconds"),
    .later("rate-limit", .string, .scheduling, default: "null", why: "keys have no quotas", "quotas per key"),
    .later(
      "length-grouping", .bool, .scheduling, default: "false", why: "prompts are not sorted by length",
      "group prompts of similar length"),
    .ignored(
      "disable-hybrid-kv-cache-manager", .bool, .scheduling, why: "there is one kind of cache", "one cache manager"),
    .ignored("num-lookahead-slots", .int, .scheduling, why: "drafts take what a step leaves", "slots kept for drafts"),
  ]

  /// What the CPU device is told, on commands without the other engine flags.
  static let cpu: [Flag] = [
    .int(
      "threads", .model, \.engine.threads, default: "allowed CPUs", environment: ["OMP_NUM_THREADS"], "kernel threads"),
    .string(
      "cpu-kernels", .model, \.engine.kernelSet, default: "the best this CPU has",
      "kernel set: scalar, avx512, avx512bf16 or amx"),
  ]
}
