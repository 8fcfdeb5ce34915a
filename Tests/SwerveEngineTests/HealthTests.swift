import SwerveCore
import SwerveEngine
import SwerveInference
import SwerveScheduling
import Synchronization
import Testing

/// Fails when it is told to.
private final class FaultyExecutor: StepExecutor {
  struct Fault: Error, CustomStringConvertible { var description: String }

  let fails: @Sendable () -> Bool

  init(fails: @escaping @Sendable () -> Bool) { self.fails = fails }

  func execute(_ plan: borrowing StepPlan, into result: inout StepResult) throws {
    if fails() { throw Fault(description: "the device is gone") }
    for index in 0..<plan.sequences.count where plan.sequences[index].samples {
      result.samples.append(Sample(sequenceIndex: Int32(index), token: 1))
    }
  }

  func pack(_ block: BlockID, into bytes: UnsafeMutableRawBufferPointer) {}
  func unpack(_ bytes: UnsafeRawBufferPointer, into block: BlockID) {}
}

@Suite struct HealthTests {
  private final class Time: Sendable {
    let now = Atomic<UInt64>(0)
    var clock: EngineClock { EngineClock { EngineInstant(nanoseconds: self.now.load(ordering: .relaxed)) } }
    func pass(seconds: Int) { now.wrappingAdd(UInt64(seconds) * 1_000_000_000, ordering: .relaxed) }
  }

  private func waiting(_ id: UInt64) -> WaitingRequest {
    WaitingRequest(
      request: RequestID(rawValue: id), promptTokens: [1, 2, 3],
      sampling: SamplingState(
        params: SamplingParams(temperature: 0, maxTokens: 2), seed: 0, badWordTokens: [], terminators: []))
  }

  private struct Parts: ~Copyable {
    let inbox = Mailbox<InboxMessage>()
    let publisher = Mailbox<PublisherMessage>()
    let board: StatusBoard
    var loop: EngineLoop

    init(_ time: Time, fails: @escaping @Sendable () -> Bool) throws {
      board = StatusBoard(watchdogSeconds: 10, clock: time.clock, onFailure: { _ in })
      let scheduler = try Scheduler(
        configuration: SchedulerConfiguration(
          maxBatchedTokens: 16, maxSequences: 4, blockSize: 4, blockCount: 16, maxModelLength: 32))
      loop = EngineLoop(
        scheduler: scheduler, executor: FaultyExecutor(fails: fails), inbox: inbox, publisher: publisher,
        spares: Mailbox<StepOutputs>(), board: board, clock: time.clock, totals: EngineStatistics())
      board.set(.running)
    }

    /// What was said to the publisher since the last call.
    func said() -> [PublisherMessage] {
      var messages: [PublisherMessage] = []
      publisher.take(into: &messages, waits: false)
      return messages
    }
  }

  @Test func anEngineWhoseStepsAllFailIsDeadAndSaysWhyToEveryone() throws {
    var parts = try Parts(Time()) { true }
    var id: UInt64 = 0
    while parts.board.health == .running {
      id += 1
      parts.inbox.post(.submit(waiting(id)))
      parts.loop.step()
      if id > 100 { break }
    }
    #expect(id == 16)
    guard case .dead(let why) = parts.board.health else {
      Issue.record("\(parts.board.health)")
      return
    }
    #expect(why.contains("16 steps failed") && why.hasSuffix("the device is gone"))
    let everyone = parts.said().contains {
      if case .dropAll(let error) = $0 { error.kind == .unavailable && error.message.contains(why) } else { false }
    }
    #expect(everyone)
    // Whoever comes now is answered, and the thread can still be ended.
    parts.inbox.post(.submit(waiting(200)))
    parts.loop.step()
    let refused = parts.said().contains {
      if case .drop(RequestID(rawValue: 200), let error?) = $0 { error.kind == .unavailable } else { false }
    }
    #expect(refused)
    parts.inbox.post(.stop)
    parts.loop.run()
    // Death is final.
    parts.board.set(.draining)
    #expect(parts.board.health == .dead(why))
  }

  @Test func aStepThatSucceedsForgivesThoseBefore() throws {
    let count = Atomic<Int>(0)
    var parts = try Parts(Time()) { count.wrappingAdd(1, ordering: .relaxed).newValue % 10 != 0 }
    for id in 1...60 {
      parts.inbox.post(.submit(waiting(UInt64(id))))
      parts.loop.step()
    }
    #expect(parts.board.health == .running)
  }

  @Test func workThatNobodyTakesUpIsStalledAfterTheWatchdogsTime() throws {
    let time = Time()
    time.pass(seconds: 3_600)
    let parts = try Parts(time) { false }
    // Idle for an hour: that is no stall.
    time.pass(seconds: 3_600)
    #expect(parts.board.health == .running)
    parts.board.noteSubmission()
    time.pass(seconds: 9)
    parts.board.noteSubmission()
    #expect(parts.board.health == .running)
    time.pass(seconds: 2)
    #expect(parts.board.health == .stalled)
    var taken = StatusBoard.Taken()
    taken.requests = 2
    parts.board.update(
      statistics: EngineStatistics(), taken: taken, now: EngineInstant(nanoseconds: time.now.load(ordering: .relaxed)))
    #expect(parts.board.health == .running)
  }
}
