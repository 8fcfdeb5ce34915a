package import SwerveCore
package import SwerveScheduling
package import SwerveTransfer

/// What the engine thread is told. Cancellation is a message like any other.
package enum InboxMessage: Sendable {
  /// With settings: a beam search.
  case submit(WaitingRequest, BeamSettings? = nil)
  /// The client left: free everything of this request.
  case cancel(RequestID)
  /// The publisher found a stop string: the sequence is over.
  case finish(SequenceID)
  /// The prompt's blocks of a request that is submitted next go out, or come in.
  case handOver(RequestID, OutgoingBlocks)
  case expect(RequestID, IncomingBlocks)
  case resetPrefixCache(@Sendable (Bool) -> Void)
  /// One that waits on another host; nil: one of this host.
  case attachWorker(Endpoint?, DataAnswer)
  /// Within so many seconds, worker by number.
  case drainWorker(Int, Double, DataAnswer)
  /// Finish or abort nothing; leave the loop once everything before this message was handled.
  case stop
}

/// What the publisher thread is told.
package enum PublisherMessage: Sendable {
  /// Sent before the request itself goes to the engine thread, so outputs never arrive for an unknown request.
  case register(RequestRecord)
  case step(StepOutputs)
  /// A beam search was decided: its hypotheses, best first, and how often it was preempted. No more outputs will come.
  case winners(RequestID, [BeamWinner], preemptions: Int, now: EngineInstant)
  /// The request was cancelled or failed; no more outputs will come.
  case drop(RequestID, RequestError?)
  /// The same for every request there is.
  case dropAll(RequestError)
  case stop
}

/// One hand-over from the engine thread: everything a step produced. Emptied and handed back by the publisher.
package struct StepOutputs: Sendable {
  package var outputs: [SequenceOutput] = []
  package var samples: [Sample] = []
  package var alternatives: [TokenLogprob] = []
  package var promptLogprobs: [PromptLogprob] = []
  /// Sequences of the step, to resolve the indices in `promptLogprobs`.
  package var sequences: [SequenceID] = []
  /// Why sequences of the step ended with `error`, where that is known.
  package var cause: String?
  /// Tokens computed in the step.
  package var tokenCount = 0
  /// When the step began and ended.
  package var start = EngineInstant(nanoseconds: 0)
  package var now = EngineInstant(nanoseconds: 0)

  package init() {}

  package var seconds: Double { now.seconds(since: start) }

  package mutating func removeAll() {
    outputs.removeAll(keepingCapacity: true)
    samples.removeAll(keepingCapacity: true)
    alternatives.removeAll(keepingCapacity: true)
    promptLogprobs.removeAll(keepingCapacity: true)
    sequences.removeAll(keepingCapacity: true)
    cause = nil
  }
}

/// A moment on the engine's monotonic clock.
package struct EngineInstant: Sendable, Comparable {
  package var nanoseconds: UInt64

  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  package static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

  package func seconds(since earlier: Self) -> Double {
    nanoseconds > earlier.nanoseconds ? Double(nanoseconds - earlier.nanoseconds) * 1e-9 : 0
  }
}

/// The source of time, handed in so that tests can turn it by hand.
package struct EngineClock: Sendable {
  package var now: @Sendable () -> EngineInstant

  package init(now: @escaping @Sendable () -> EngineInstant) { self.now = now }

  package static let monotonic = EngineClock {
    let elapsed = origin.duration(to: ContinuousClock.now)
    let (seconds, attoseconds) = elapsed.components
    return EngineInstant(nanoseconds: UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000))
  }

  private static let origin = ContinuousClock.now
}
