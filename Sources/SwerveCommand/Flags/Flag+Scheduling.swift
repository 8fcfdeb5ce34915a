import SwerveAccess
import SwerveCore
import SwerveScheduling

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
    .int(
      "max-num-queued-tokens", .scheduling, \.engine.maxQueuedTokens, default: "no limit",
      "prompt tokens that may wait; more are answered 503"),
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
    .bool(
      "long-prefill-token-threshold-adaptive", .scheduling, \.engine.adaptsLongPrefill, default: true,
      "prompts of many steps let short ones pass, every other step"),
    .custom(
      "scheduling-policy", .words("fcfs", "priority", "fair", "slo"), .scheduling, default: "fcfs",
      "who runs first: the order of arrival, requests' priority, tenants by share, or classes by promise"
    ) {
      if case .string(let name) = $1 { $0.engine.schedulingPolicy = .init(rawValue: name) ?? .fcfs }
    },
    .custom(
      "scheduler-cls", .string, .scheduling,
      "an order of requests beyond --scheduling-policy: \(Policies.extensions.map(\.name).joined(separator: ", "))"
    ) {
      guard case .string(let name) = $1 else { return }
      guard Policies.extensionNamed(name) != nil else {
        let names = Policies.extensions.map(\.name).joined(separator: ", ")
        throw FlagError("must be one of \(names), not \(name)")
      }
      $0.engine.schedulerExtension = name
    },
    .later(
      "scheduler-reserve-full-isl", .bool, .scheduling, default: "true",
      why: "a request is admitted when its whole prompt fits", "admit only when the whole prompt fits"),
    .double("watermark", .scheduling, \.engine.watermark, default: 0, "share of blocks kept free when admitting"),
    .later(
      "async-scheduling", .bool, .scheduling, default: "false", why: "a step is planned after the one before it ended",
      "plan the next step while one runs"),
    .int("stream-interval", .scheduling, \.server.streamInterval, default: 1, "tokens per streamed chunk"),
    .custom(
      "sla-config", .json, .scheduling, default: "{}",
      "service classes by name: ttft_ms, tpot_ms, weight, max_share, preempt, tenants, service_tiers"
    ) {
      guard case .json(let json) = $1, !json.isNull else { return }
      guard let object = json.object else { throw FlagError("needs a JSON object, not \(json.text)") }
      do {
        $0.engine.serviceClasses = try ServiceClasses(object)
      } catch {
        throw FlagError("is wrong: \(error)")
      }
    },
    .custom(
      "request-timeout", .double, .scheduling, default: "none", "seconds from a request's arrival to its last token"
    ) { if case .double(let seconds) = $1 { $0.server.requestTimeout = seconds } },
    .custom(
      "queue-timeout", .double, .scheduling, default: "none", "seconds a request may wait; then it is answered 503"
    ) { if case .double(let seconds) = $1 { $0.engine.queueTimeout = seconds } },
    .later("rate-limit", .string, .scheduling, default: "null", why: "keys have no quotas", "quotas per key"),
    .bool(
      "length-grouping", .scheduling, \.engine.groupsLengths, default: false,
      "admit prompts of similar length together"),
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
      "kernel set: scalar, avx2, avx512, avx512bf16 or amx"),
  ]
}
