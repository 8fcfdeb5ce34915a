import SwerveCore
import SwerveHardware

/// What a rank other than rank 0 does, on its own thread, until it is told to end.
package protocol RankTask: AnyObject {
  /// - Parameter mostMessages: ends after so many of rank 0, without a word; nil: when told to.
  func run(mostMessages: Int?) throws
}

/// A rank other than rank 0: executes plans as they come, answers for its columns of the logits, and ends when told to. It
/// owns its thread.
package final class RankWorker: RankTask {
  private let shard: ModelShard
  private let coordinator: RankLink
  private let words = RankWords()
  private var plan = StepPlan()
  private var incomplete: [Int32] = []
  private var tileRows: [Int32] = []
  private let statistics: TileStatistics
  /// For tests: changes the words of the n-th plan before they are read.
  package var alter: ((_ number: Int, _ words: RankWords) -> Void)?
  private var planCount = 0
  private let requests: UnsafeMutableBufferPointer<RowRequest>

  /// - Parameter shard: of a rank's shape, with its links.
  package init(_ shard: ModelShard, coordinator: RankLink) {
    self.shard = shard
    self.coordinator = coordinator
    let rows = shard.configuration.tileRows
    statistics = TileStatistics(
      rows: rows, pieces: StatisticsTable.pieces(shard.configuration.headColumns.count))
    requests = .allocate(capacity: rows)
    requests.initialize(repeating: RowRequest(.nothing))
  }

  /// A block on its way; nil until there is one.
  private var block: UnsafeMutableRawBufferPointer?

  deinit {
    requests.deallocate()
    block?.deallocate()
  }

  /// Runs until rank 0 says stop.
  ///
  /// - Parameter mostMessages: ends after so many, without a word; nil: when told to.
  /// - Throws: `ChannelError` when another rank does not come or says what cannot be; whoever started this then closes
  ///   the channels, and the others hear of it.
  package func run(mostMessages: Int?) throws {
    var residual: Tensor?
    var planID: UInt64 = 0
    var messages = 0
    while mostMessages.map({ messages < $0 }) ?? true {
      messages += 1
      let message = try RankMessage.receive(into: words, over: coordinator.receive, from: coordinator.peer)
      switch message.kind {
      case .stop: return
      case .report:
        RankReport.write(shard.traffic, into: words)
        try RankMessage(.report, plan: message.plan).send(words, over: coordinator.send)
      case .plan:
        try readPlan(message)
        planID = message.plan
        incomplete.removeAll(keepingCapacity: true)
        let mark = PlanMark(plan: message.plan, words: words)
        residual = try shard.run(plan, mark: mark, incomplete: &incomplete)
        // Only rank 0 could take single sequences out of a step.
        if !incomplete.isEmpty {
          throw ChannelError.closed(peer: "a data worker of this rank")
        }
      case .pack, .unpack: try copy(message.kind)
      case .share: throw malformed("a rank that computes is asked for its weights")
      case .tile:
        guard let residual, planID == message.plan else { throw malformed("logits of another plan") }
        try answer(residual)
      }
    }
  }

  private func readPlan(_ message: RankMessage) throws(ChannelError) {
    planCount += 1
    alter?(planCount, words)
    let configuration = shard.configuration
    let problem = RankPlan.read(
      words, into: &plan, limits: configuration.limits, vocabularySize: configuration.model.vocabularySize,
      blockCount: shard.blockCount)
    if let problem { throw malformed("\(problem)") }
    plan.id = message.plan
  }

  /// This rank's part of a block, to rank 0 or from there.
  private func copy(_ kind: RankMessage.Kind) throws {
    guard let blocks = shard.blocks else {
      throw malformed("blocks that are not kept below the ranks are to be copied")
    }
    words.beginReading()
    let number = words.nextInt()
    guard !words.isOverrun, words.remaining == 0, (0..<blocks.blockCount).contains(Int(number)) else {
      throw malformed("a block outside the pool is to be copied")
    }
    let bytes: UnsafeMutableRawBufferPointer
    if let block {
      bytes = block
    } else {
      bytes = .allocate(byteCount: blocks.blockBytes, alignment: 64)
      block = bytes
    }
    if kind == .pack {
      try blocks.pack(BlockID(rawValue: number), into: bytes)
      try coordinator.send.sendAll(UnsafeRawBufferPointer(bytes))
    } else {
      try coordinator.receive.receiveAll(into: bytes, from: coordinator.peer)
      blocks.unpack(UnsafeRawBufferPointer(bytes), into: BlockID(rawValue: number))
    }
  }

  private func answer(_ residual: Tensor) throws {
    guard let keeps = TileMessage.read(words, rows: &tileRows, requests: requests, rowCount: residual.rows),
      let first = requests.baseAddress
    else { throw malformed("logits of rows that are not there") }
    let request = Sampler.HeadRequest(
      requests: UnsafePointer(first), statistics: statistics.table, keepsLogits: keeps)
    let rows = tileRows
    guard let tile = try shard.logits(rows.span, of: residual, request: request) else {
      throw malformed("logits of a rank that has none")
    }
    let channel = coordinator.send
    let count = tile.rows * statistics.table.pieces * 4
    func tell(_ memory: UnsafeMutableRawPointer) throws(ChannelError) {
      try channel.sendAll(UnsafeRawBufferPointer(start: memory, count: count))
    }
    try tell(statistics.table.places)
    try tell(statistics.table.maxima)
    try tell(statistics.table.logSums)
    guard keeps else { return }
    let columns = shard.configuration.headColumns.count
    for row in 0..<tile.rows {
      try channel.sendAll(rows: tile.rows(row..<row + 1).columns(0..<columns).asLine)
    }
  }

  private func malformed(_ reason: String) -> ChannelError { .malformed(peer: coordinator.peer, reason: reason) }
}
