import CAllocationCounter
import SwerveCore
import SwerveEngine
import SwerveScheduling
import Testing

/// A decode step allocates nothing: schedule, forward pass, sampling, apply and the hand-over to the publisher.
@Suite(.serialized) struct AllocationTests {
  /// Heap allocations that one decode step may make. The number is a promise: it does not grow.
  static let threshold = 0

  private func plan(_ quantization: EngineConfiguration.Quantization, speculating: Bool) throws -> StartPlan {
    try StartPlan(
      storyConfiguration {
        $0.maxSequences = 32; $0.maxBatchedTokens = 1024; $0.quantization = quantization
        if speculating {
          $0.speculation = SpeculationConfiguration()
          // Draft whatever the machine, and no more than lets all sequences run to the end of the test.
          $0.speculation?.rowCost = 1e-4
          $0.speculation?.tokens = 1
        }
      })
  }

  private func request(_ id: UInt64, _ change: (inout SamplingParams) -> Void) -> WaitingRequest {
    var params = SamplingParams(temperature: 0, maxTokens: 400)
    change(&params)
    return WaitingRequest(
      request: RequestID(rawValue: id), promptTokens: (0..<20).map { TokenID(100 + $0 + Int(id)) },
      sampling: SamplingState(params: params, seed: id, badWordTokens: [], terminators: []))
  }

  @Test(arguments: EngineConfiguration.Quantization.allCases, [false, true])
  func decodeStepsAllocateNothing(_ quantization: EngineConfiguration.Quantization, speculating: Bool) throws {
    let threads = EngineThreads(
      plan: try plan(quantization, speculating: speculating), clock: .monotonic, observer: nil, onFailure: { _ in })
    var loaded = EngineThreads.Loaded()
    var loop = try threads.makeLoop(&loaded, onProgress: { _ in })
    threads.inbox.post(.submit(request(1) { _ in }))
    threads.inbox.post(
      .submit(
        request(2) {
          $0.temperature = 0.9; $0.topP = 0.9; $0.topK = 40
        }))
    threads.inbox.post(
      .submit(
        request(3) {
          $0.temperature = 1; $0.minP = 0.05; $0.repetitionPenalty = 1.1
        }))
    threads.inbox.post(
      .submit(
        request(4) {
          $0.presencePenalty = 0.5; $0.logprobs = 5
        }))

    // Seeded nuclei and penalties fill the batch to 32 rows; flat rows take the way of rejection.
    for id in UInt64(5)...32 {
      threads.inbox.post(
        .submit(
          request(id) {
            $0.temperature = id % 2 == 0 ? 0.8 : 30
            $0.topP = 0.9
            $0.seed = Int(id)
            if id % 3 == 0 { $0.repetitionPenalty = 1.1 }
            if id % 5 == 0 { $0.frequencyPenalty = 0.2 }
          }))
    }

    var messages: [PublisherMessage] = []
    var received = 0
    /// What the publisher thread does with a hand-over.
    func recycle() {
      threads.publisher.take(into: &messages, waits: false)
      for message in messages {
        guard case .step(var outputs) = message else { continue }
        received += outputs.outputs.count
        outputs.removeAll()
        threads.spares.post(outputs)
      }
      messages.removeAll(keepingCapacity: true)
    }
    for _ in 0..<64 {
      loop.step()
      recycle()
    }
    #expect(received >= 32 * 60)

    var counts: [Int] = []
    for _ in 0..<100 {
      let before = allocation_count()
      loop.step()
      counts.append(allocation_count() - before)
      recycle()
    }
    #expect(counts.filter { $0 > Self.threshold }.isEmpty, "allocations per step: \(counts)")
    let statistics = threads.board.statistics
    #expect(statistics.runningRequests == 32)
    #expect(speculating ? statistics.acceptedTokens > 20 : statistics.drafts == 0, "\(statistics)")
  }

  @Test func theCounterCounts() {
    let before = allocation_count()
    let array = [Int](unsafeUninitializedCapacity: 1000) { _, count in count = 0 }
    #expect(allocation_count() > before)
    #expect(array.isEmpty)
  }
}
