import Dispatch
import SwerveCore
import SwerveEngine
import SwerveHardware
import SwerveInference
import Synchronization
import Testing

/// Sums over ranks, and the channels under them.
@Suite struct CollectiveTests {
  struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
  }

  private func shape(_ rank: Int, of ranks: Int, isExact: Bool) -> RankShape {
    var shape = RankShape(layers: 0..<1)
    shape.tensorRank = rank
    shape.tensorSize = ranks
    shape.isExact = isExact
    return shape
  }

  /// Runs `body` as every rank, each on a thread of its own, and answers what they came to.
  private func asRanks<Value: Sendable>(
    _ ranks: Int, capacity: Int, _ body: @escaping @Sendable (Int, [RankLink]) throws -> Value
  ) -> [Value?] {
    var channels: [[ThreadChannel?]] = []
    for from in 0..<ranks {
      channels.append(
        (0..<ranks).map {
          $0 == from
            ? nil
            : ThreadChannel(
              from: "rank \(from)", to: "rank \($0)", capacity: capacity, sendSeconds: 60, receiveSeconds: 60)
        })
    }
    let all = channels
    let results = Mutex([Value?](repeating: nil, count: ranks))
    DispatchQueue.concurrentPerform(iterations: ranks) { rank in
      let links = (0..<ranks.trailingZeroBitCount).compactMap { level -> RankLink? in
        let partner = rank ^ 1 << level
        guard let send = all[rank][partner], let receive = all[partner][rank] else { return nil }
        return RankLink(peer: "rank \(partner)", send: send, receive: receive)
      }
      do {
        let value = try body(rank, links)
        results.withLock { $0[rank] = value }
      } catch { Issue.record("rank \(rank): \(error)") }
    }
    return results.withLock { $0 }
  }

  /// As many ranks as there are cores to run them at once: `concurrentPerform` starts no more threads than that.
  @Test(arguments: [UInt64(1), 2, 3, 4, 5, 6])
  func everyRankHasTheSumOfTheFixedTree(seed: UInt64) throws {
    var random = Seeded(state: seed)
    let ranks = 2
    let rows = Int.random(in: 1...40, using: &random)
    let columns = Int.random(in: 1...300, using: &random)
    let capacity = columns * 4 * Int.random(in: 1...8, using: &random)
    let numbers = (0..<ranks).map { _ in
      (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &random) * 1e3 }
    }
    let expected = (0..<rows * columns).map { numbers[0][$0] + numbers[1][$0] }
    let found = asRanks(ranks, capacity: capacity) { rank, links -> [UInt32] in
      let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
      let group = try TensorGroup(
        self.shape(rank, of: ranks, isExact: true), partners: links, type: .bfloat16, rows: rows, columns: columns,
        device: device)
      group.sums.float32.update(from: numbers[rank], count: rows * columns)
      try group.reduce(group.sums, device: device)
      #expect(group.sentBytes == rows * columns * 4 * links.count)
      return (0..<rows * columns).map { group.sums.float32[$0].bitPattern }
    }
    for rank in 0..<ranks { #expect(found[rank] == expected.map(\.bitPattern), "rank \(rank), seed \(seed)") }
  }

  @Test func roundedSumsAreTheSameOnBothRanksAndTakeHalfTheBytes() throws {
    var random = Seeded(state: 9)
    let numbers = (0..<2).map { _ in (0..<512).map { _ in Float.random(in: -1...1, using: &random) } }
    let found = asRanks(2, capacity: 256) { rank, links -> [UInt32] in
      let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
      let group = try TensorGroup(
        self.shape(rank, of: 2, isExact: false), partners: links, type: .bfloat16, rows: 4, columns: 128, device: device
      )
      group.sums.float32.update(from: numbers[rank], count: 512)
      try group.reduce(group.sums, device: device)
      #expect(group.sentBytes == 512 * 2)
      return (0..<512).map { group.sums.float32[$0].bitPattern }
    }
    #expect(found[0] != nil && found[0] == found[1])
    let exact = (0..<512).map { (numbers[0][$0] + numbers[1][$0]) }
    let worst = zip(found[0] ?? [], exact).map { abs(Float(bitPattern: $0) - $1) }.max() ?? .infinity
    #expect(worst > 0 && worst < 0.02)
  }

  @Test func rowsOfOneRankEachBecomeEveryRanks() throws {
    let found = asRanks(2, capacity: 64) { rank, links -> [UInt32] in
      let device = try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
      let group = try TensorGroup(
        self.shape(rank, of: 2, isExact: true), partners: links, type: .float32, rows: 6, columns: 16, device: device)
      for place in 0..<96 { group.sums.float32[place] = place / 16 % 2 == rank ? -Float(place % 5) : 0 }
      try group.join(group.sums, device: device)
      return (0..<96).map { group.sums.float32[$0].bitPattern }
    }
    // The sign of a zero survives too.
    let expected = (0..<96).map { (-Float($0 % 5)).bitPattern }
    #expect(found[0] == expected && found[1] == expected)
  }

  @Test func messagesArriveWholeAndInOrder() throws {
    let channel = ThreadChannel(from: "a", to: "b", capacity: 96, messages: 3, sendSeconds: 60, receiveSeconds: 60)
    let count = 2000
    let received = Mutex<[[UInt8]]>([])
    DispatchQueue.concurrentPerform(iterations: 2) { side in
      do {
        for number in 0..<count {
          let length = number * 31 % 97
          if side == 0 {
            let place = try channel.reserve(length)
            for byte in 0..<length { place[byte] = UInt8(truncatingIfNeeded: number + byte) }
            try channel.send(length)
          } else {
            let message = Array(try channel.receive())
            received.withLock { $0.append(message) }
            try channel.release()
          }
        }
      } catch { Issue.record("side \(side): \(error)") }
    }
    let all = received.withLock { $0 }
    #expect(all.count == count)
    for (number, message) in all.enumerated() {
      #expect(message == (0..<number * 31 % 97).map { UInt8(truncatingIfNeeded: number + $0) })
    }
  }

  @Test func waitsEndAtTheDeadlineOrWithTheOtherSide() throws {
    let silent = ThreadChannel(from: "a", to: "b", capacity: 8, messages: 1, sendSeconds: 0.05, receiveSeconds: 0.05)
    #expect(throws: ChannelError.timedOut(peer: "a", seconds: 0.05)) { _ = try silent.receive() }
    #expect(throws: ChannelError.closed(peer: "b")) { try silent.send(0) }
    let full = ThreadChannel(from: "a", to: "b", capacity: 8, messages: 1, sendSeconds: 0.05, receiveSeconds: nil)
    _ = try full.reserve(8)
    try full.send(8)
    #expect(throws: ChannelError.timedOut(peer: "b", seconds: 0.05)) { _ = try full.reserve(8) }
    #expect(throws: ChannelError.tooLong(peer: "b", byteCount: 9, capacity: 8)) { _ = try full.reserve(9) }
    let closed = ThreadChannel(from: "a", to: "b", capacity: 8, sendSeconds: 60, receiveSeconds: nil)
    closed.close()
    #expect(throws: ChannelError.closed(peer: "a")) { _ = try closed.receive() }
  }

  @Test func plansReadAsTheyWereWrittenAndNothingElseIsBelieved() throws {
    let limits = RunnerLimits(rows: 64, sequences: 8, contextTokens: 128)
    var plan = StepPlan()
    plan.tokens = (0..<20).map { TokenID($0) }
    plan.blocks = [BlockID(3), BlockID(4), BlockID(5)]
    plan.copies = [BlockCopy(from: BlockID(1), to: BlockID(2))]
    for (first, rows, context, block, blocks) in [(0, 17, 3, 0, 2), (17, 3, 0, 2, 1)]
      as [(Int32, Int32, Int32, Int32, Int32)]
    {
      plan.sequences.append(
        SequenceStep(
          sequence: SequenceID(request: RequestID(rawValue: 0), index: 0), slot: SlotID(0), firstRow: first,
          rowCount: rows, contextTokens: context, promptTokens: 20, firstBlock: block, blockCount: blocks, samples: true
        ))
    }
    let channel = ThreadChannel(from: "0", to: "1", capacity: 64, messages: 64, sendSeconds: 1, receiveSeconds: 1)
    let words = RankWords()
    func read() throws -> (StepPlan, String?) {
      var found = StepPlan()
      let problem = RankPlan.read(words, into: &found, limits: limits, vocabularySize: 100, blockCount: 8)
      return (found, problem)
    }
    RankPlan.write(plan, into: words)
    try RankMessage(.plan, plan: 12).send(words, over: channel)
    words.removeAll()
    let message = try RankMessage.receive(into: words, over: channel, from: "0")
    #expect(message.kind == .plan && message.plan == 12)
    let (found, problem) = try read()
    #expect(problem == nil && found.tokens == plan.tokens && found.blocks == plan.blocks && found.copies == plan.copies)
    #expect(found.sequences == plan.sequences)

    // One word changed: the plan is either refused or still within the limits; it never traps.
    var refusals = 0
    var random = Seeded(state: 4)
    let written = (0..<words.count).count
    for _ in 0..<4000 {
      RankPlan.write(plan, into: words)
      words.change(Int.random(in: 0..<written, using: &random), to: UInt32.random(in: 0...UInt32.max, using: &random))
      if try read().1 != nil { refusals += 1 }
    }
    #expect(refusals > 1500, "\(refusals)")

    // A message of another kind, and one that is no message.
    let room = try channel.reserve(32)
    for byte in 0..<32 { room[byte] = 0 }
    try channel.send(32)
    #expect(throws: ChannelError.self) { _ = try RankMessage.receive(into: words, over: channel, from: "0") }
  }
}
