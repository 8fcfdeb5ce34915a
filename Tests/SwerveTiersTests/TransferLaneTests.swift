import Dispatch
import SwerveCore
import SwerveTiers
import Synchronization
import Testing

/// A store whose every call waits until the test lets it go, and which writes down their order.
private final class GatedStore: BlockStore {
  private let gate = DispatchSemaphore(value: 0)
  private let arrival = DispatchSemaphore(value: 0)
  private let calls = Mutex<[String]>([])

  var order: [String] { calls.withLock { $0 } }
  func release(_ count: Int = 1) { for _ in 0..<count { gate.signal() } }
  /// Waits until one more call has begun.
  func waitForCall() { arrival.wait() }

  private func call(_ what: String, _ identity: BlockIdentity) {
    calls.withLock { $0.append("\(what)\(identity.tokens[0])") }
    arrival.signal()
    gate.wait()
  }

  func store(
    _ identity: BlockIdentity, from bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool
  ) -> StoreOutcome {
    call("s", identity)
    return .stored(fileBytes: bytes.count)
  }

  func load(_ identity: BlockIdentity, into bytes: UnsafeMutableRawBufferPointer) -> LoadOutcome {
    call("f", identity)
    return .hit(isLossy: false)
  }
}

/// Memory for one block.
private final class Memory: @unchecked Sendable {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 64)
  init(_ content: [UInt8] = []) {
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
    if !content.isEmpty { bytes.copyBytes(from: content) }
  }
  deinit { bytes.deallocate() }
  var block: BlockMemory { BlockMemory(bytes: bytes, owner: self) }
}

@Suite struct TransferLaneTests {
  private func lane(_ store: any BlockStore, threads: Int = 1, capacity: Int = 64) -> TransferLane {
    var configuration = TransferLane.Configuration()
    configuration.threadCount = threads
    configuration.capacity = capacity
    configuration.spillShare = 1
    return TransferLane(store: store, configuration: configuration)
  }

  private func spill(_ number: Int, _ memory: Memory = Memory()) -> TransferRequest {
    .spill(TransferID(rawValue: UInt64(number)), block(number), from: memory.block, reloadCost: 1)
  }

  private func fetch(_ number: Int, _ memory: Memory = Memory()) -> TransferRequest {
    .fetch(TransferID(rawValue: UInt64(number)), block(number), into: memory.block)
  }

  private func completions(_ lane: TransferLane) -> [TransferCompletion] {
    var taken: [TransferCompletion] = []
    lane.takeCompletions(into: &taken)
    return taken
  }

  @Test func fetchesGoFirstAndEachKindInItsOrder() {
    let store = GatedStore()
    let lane = lane(store)
    #expect(lane.submit(spill(1)) == nil)
    store.waitForCall()
    for number in 2...4 { lane.submit(spill(number)) }
    for number in 5...7 { lane.submit(fetch(number)) }
    #expect(lane.statistics.spillsWaiting == 3 && lane.statistics.fetchesWaiting == 3 && lane.statistics.running == 1)
    store.release(7)
    #expect(lane.shutDown(.drain, within: 30))
    #expect(store.order == ["s1", "f5", "f6", "f7", "s2", "s3", "s4"])
    #expect(completions(lane).map(\.id.rawValue) == [1, 5, 6, 7, 2, 3, 4])
    #expect(lane.submit(fetch(9)) == .ended)
  }

  @Test func withTwoThreadsASpillNeverKeepsAFetchWaiting() {
    let store = GatedStore()
    let lane = lane(store, threads: 2)
    lane.submit(spill(1))
    lane.submit(spill(2))
    store.waitForCall()
    lane.submit(fetch(3))
    store.waitForCall()
    #expect(store.order == ["s1", "f3"])
    store.release(3)
    #expect(lane.shutDown(.drain, within: 30))
    #expect(Set(completions(lane).map(\.id.rawValue)) == [1, 2, 3])
  }

  @Test func aFullQueueRefusesAndTheOtherKindIsNotConcerned() {
    let store = GatedStore()
    let lane = lane(store, capacity: 2)
    lane.submit(spill(0))
    store.waitForCall()
    #expect(lane.submit(spill(1)) == nil && lane.submit(spill(2)) == nil && lane.submit(spill(3)) == .full)
    #expect(lane.submit(fetch(4)) == nil && lane.submit(fetch(5)) == nil && lane.submit(fetch(6)) == .full)
    #expect(lane.statistics.refusals == 2)
    store.release(5)
    #expect(lane.shutDown(.drain, within: 30))
    #expect(completions(lane).count == 5)
  }

  @Test func aWaitingTransferCanBeTakenBackAndOneAtWorkCannot() {
    let store = GatedStore()
    let lane = lane(store)
    lane.submit(spill(1))
    store.waitForCall()
    lane.submit(spill(2))
    lane.submit(fetch(3))
    lane.submit(spill(4))
    #expect(!lane.cancel(TransferID(rawValue: 1)))
    #expect(lane.cancel(TransferID(rawValue: 2)) && !lane.cancel(TransferID(rawValue: 2)))
    #expect(lane.cancel(TransferID(rawValue: 3)))
    #expect(completions(lane).map(\.outcome) == [.cancelled, .cancelled])
    store.release(2)
    #expect(lane.shutDown(.drain, within: 30))
    #expect(store.order == ["s1", "s4"] && completions(lane).map(\.id.rawValue) == [1, 4])
  }

  @Test func endingWithoutDrainingAbandonsWhatWaits() {
    let store = GatedStore()
    let lane = lane(store)
    lane.submit(spill(1))
    store.waitForCall()
    for number in 2...5 { lane.submit(spill(number)) }
    // The thread is still in the store, so this one cannot see its end.
    #expect(!lane.shutDown(.abandon, within: 0))
    store.release()
    #expect(lane.shutDown(.abandon, within: 30))
    let all = completions(lane)
    #expect(all.count == 5 && all.count { $0.outcome == .abandoned } == 4)
  }

  @Test func aThreadStuckInTheStoreBoundsTheEndAndCompletesLater() {
    let store = GatedStore()
    let lane = lane(store)
    lane.submit(spill(1))
    store.waitForCall()
    lane.submit(fetch(2))
    #expect(!lane.shutDown(.drain, within: 0.05))
    #expect(completions(lane).map(\.outcome) == [.abandoned])
    store.release()
    #expect(lane.shutDown(.abandon, within: 30))
    #expect(completions(lane).map(\.outcome) == [.spilled(.stored(fileBytes: 256))])
  }

  /// Several submitters, random cancellations and polls: every accepted transfer ends exactly once.
  @Test func everyAcceptedTransferEndsExactlyOnce() {
    let store = GatedStore()
    store.release(100_000)
    let lane = lane(store, threads: 3, capacity: 8)
    let accepted = Mutex<Set<UInt64>>([])
    DispatchQueue.concurrentPerform(iterations: 4) { submitter in
      var random = SeededRandom(seed: UInt64(submitter) + 3)
      let memory = Memory()
      for index in 0..<(isLong ? 20_000 : 2_000) {
        let number = (submitter + 1) * 100_000 + index
        let request = Bool.random(using: &random) ? spill(number, memory) : fetch(number, memory)
        if lane.submit(request) == nil { accepted.withLock { _ = $0.insert(UInt64(number)) } }
        if index % 5 == 0 { lane.cancel(TransferID(rawValue: UInt64(number - 2))) }
      }
    }
    #expect(lane.shutDown(.drain, within: 60))
    let ended = completions(lane).map(\.id.rawValue)
    #expect(ended.count == Set(ended).count && Set(ended) == accepted.withLock { $0 })
    #expect(lane.statistics.running == 0 && ended.count > 100)
  }

  @Test func blocksTravelFromTheHostToFilesAndBack() throws {
    let folder = try TemporaryFolder()
    let files = try FileTier(configuration(folder: folder.path), master: .ephemeral())
    let host = try HostTier(blockBytes: 256, capacityBytes: 4 * 4096)
    let lane = TransferLane(store: files)
    var pinned: [UInt64: HostSlot] = [:]
    for number in 0..<4 {
      let slot = try #require(
        host.put(block(number), reloadCost: 1) { $0.copyBytes(from: content(number, count: 256)) })
      #expect(host.pin(slot))
      pinned[UInt64(number)] = slot
      lane.submit(
        .spill(
          TransferID(rawValue: UInt64(number)), block(number), from: try #require(host.memory(of: slot)), reloadCost: 1)
      )
    }
    func collect(_ count: Int) -> [TransferCompletion] {
      var all: [TransferCompletion] = []
      while all.count < count { all += completions(lane) }
      return all
    }
    for completion in collect(4) {
      guard case .spilled(.stored) = completion.outcome else {
        Issue.record("\(completion)")
        continue
      }
      host.unpin(try #require(pinned[completion.id.rawValue]))
    }
    #expect(host.pinnedCount == 0)
    host.removeAll()
    for number in 0..<4 {
      guard case .reserved(let slot) = host.reserve(block(number), reloadCost: 1) else {
        Issue.record("no place")
        continue
      }
      pinned[UInt64(number)] = slot
      lane.submit(
        .fetch(TransferID(rawValue: UInt64(number)), block(number), into: try #require(host.memory(of: slot))))
    }
    for completion in collect(4) {
      #expect(completion.outcome == .fetched(.hit(isLossy: false)))
      let slot = try #require(pinned[completion.id.rawValue])
      #expect(host.seal(slot))
      #expect(Array(try #require(host.memory(of: slot)).bytes) == content(Int(completion.id.rawValue), count: 256))
      host.unpin(slot)
    }
    #expect(lane.shutDown(.drain, within: 30) && host.violation() == nil)
    #expect(
      lane.statistics.spillBandwidth.bytesPerSecond ?? 0 > 0 && lane.statistics.fetchBandwidth.bytesPerSecond ?? 0 > 0)
  }
}
