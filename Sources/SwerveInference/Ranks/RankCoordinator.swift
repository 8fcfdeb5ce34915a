import SwerveCore

/// Rank 0's side of its group: sends every plan to all others before it computes its own part.
package final class RankCoordinator {
  /// [ranks − 1] to ranks 1, 2, …
  private let links: [RankLink]
  private let words = RankWords()
  /// Steps sent, for reports and tests.
  package private(set) var planCount = 0

  package init(links: [RankLink]) { self.links = links }

  /// To the tensor ranks beside rank 0.
  func tensorLinks(_ shape: RankShape) -> [RankLink] { Array(links.prefix(shape.tensorSize - 1)) }

  /// Answers the mark that all ranks have of this plan.
  func send(_ plan: borrowing StepPlan) throws(ChannelError) -> PlanMark {
    RankPlan.write(plan, into: words)
    for link in links { try RankMessage(.plan, plan: plan.id).send(words, over: link.send) }
    planCount += 1
    return PlanMark(plan: plan.id, words: words)
  }

  /// Copies the other ranks' parts of a block out, one behind the other. Between steps only.
  ///
  /// - Parameter parts: [ranks − 1] bytes of each; together as many as there is room for.
  func pack(
    _ block: BlockID, parts: some Sequence<Int>, into bytes: UnsafeMutableRawBufferPointer
  ) throws(ChannelError) {
    words.removeAll()
    words.append(block.rawValue)
    for link in links { try RankMessage(.pack, plan: 0).send(words, over: link.send) }
    var first = 0
    for (link, count) in zip(links, parts) {
      try link.receive.receiveAll(
        into: UnsafeMutableRawBufferPointer(rebasing: bytes[first..<first + count]), from: link.peer)
      first += count
    }
  }

  /// Copies a block that `pack` copied out to the other ranks. Between steps only.
  func unpack(
    _ bytes: UnsafeRawBufferPointer, parts: some Sequence<Int>, into block: BlockID
  ) throws(ChannelError) {
    words.removeAll()
    words.append(block.rawValue)
    var first = 0
    for (link, count) in zip(links, parts) {
      try RankMessage(.unpack, plan: 0).send(words, over: link.send)
      try link.send.sendAll(UnsafeRawBufferPointer(rebasing: bytes[first..<first + count]))
      first += count
    }
  }

  /// Asks all other ranks what they hold and moved. Between steps only.
  func reports() throws(ChannelError) -> [RankTraffic.Rank] {
    words.removeAll()
    for link in links { try RankMessage(.report, plan: 0).send(words, over: link.send) }
    var found: [RankTraffic.Rank] = []
    for link in links {
      let message = try RankMessage.receive(into: words, over: link.receive, from: link.peer)
      guard message.kind == .report, let rank = RankReport.read(words) else {
        throw .malformed(peer: link.peer, reason: "a report was asked for")
      }
      found.append(rank)
    }
    return found
  }

  /// Tells all ranks to end; those that are gone are not told.
  package func stop() {
    words.removeAll()
    for link in links {
      do throws(ChannelError) {
        try RankMessage(.stop, plan: 0).send(words, over: link.send)
      } catch {
        continue
      }
    }
  }
}
