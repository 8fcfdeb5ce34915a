import SwerveCore
package import SwerveHardware
import Synchronization

/// Weights whose bytes are shared out among ranks: this one reads its own share in its memory and asks the others for
/// theirs.
final class PeerSource: GatherSource {
  private let own: GatherShard
  /// [ranks − 1] ranks 1, 2, …
  private let peers: [Peer]
  private let fetched = Atomic<Int>(0)

  /// One rank; asked by one thread at a time.
  private final class Peer: Sendable {
    private let turn = Mutex<UInt64>(0)
    // Both are touched only by who holds `turn`.
    nonisolated(unsafe) private var link: RankLink
    nonisolated(unsafe) private let words = RankWords(capacity: 16)

    init(_ link: RankLink) { self.link = link }

    /// What is on its way ends first, with the old link.
    func reconnect(_ link: RankLink) { turn.withLock { _ in self.link = link } }

    func fetch(
      item: Int, pages: Range<Int>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(ChannelError) {
      let failure = turn.withLock { number -> ChannelError? in
        number += 1
        words.removeAll()
        for value in [item, pages.lowerBound, pages.count] { words.append(UInt32(truncatingIfNeeded: value)) }
        do throws(ChannelError) {
          try RankMessage(.share, plan: number).send(words, over: link.send)
          try link.receive.receiveAll(into: bytes, from: link.peer)
          return nil
        } catch {
          return error
        }
      }
      if let failure { throw failure }
    }
  }

  /// - Parameter links: to ranks 1, 2, …; nobody else uses them.
  init(_ own: GatherShard, links: [RankLink]) {
    precondition(own.rank == 0 && links.count == own.shares.rankCount - 1, "a link to every holder")
    self.own = own
    peers = links.map { Peer($0) }
  }

  /// The other ranks were started anew.
  func reconnect(_ links: [RankLink]) { for (peer, link) in zip(peers, links) { peer.reconnect(link) } }

  var fetchedBytes: Int { fetched.load(ordering: .relaxed) }

  func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int, needed: Int) throws(GatherError) {
    let shares = own.shares
    guard let base = bytes.baseAddress, let item = shares.item(at: offset) else {
      throw GatherError("byte \(offset) belongs to no layer of the weights")
    }
    let first = (offset - shares.items[item].offset) / GatherShares.page
    let wanted = first..<first + bytes.count / GatherShares.page
    for rank in 0..<shares.rankCount {
      let pages = shares.pages(of: item, rank: rank).clamped(to: wanted)
      if pages.isEmpty { continue }
      let target = UnsafeMutableRawBufferPointer(
        start: base + (pages.lowerBound - first) * GatherShares.page, count: pages.count * GatherShares.page)
      if rank == 0 {
        guard let found = own.bytes(of: item, pages: pages) else { throw GatherError("a share that is not here") }
        target.copyMemory(from: found)
        continue
      }
      do {
        try peers[rank - 1].fetch(item: item, pages: pages, into: target)
      } catch {
        throw GatherError("\(error)")
      }
      fetched.add(target.count, ordering: .relaxed)
    }
  }
}

/// A rank that holds a share of the weights and computes nothing: it answers rank 0, which asks for pages of its share. It
/// owns its thread.
package final class ShareHolder: RankTask {
  private let shard: GatherShard
  private let coordinator: RankLink
  private let words = RankWords(capacity: 16)

  /// Reads the share.
  ///
  /// - Parameters:
  ///   - rank: 1 ..< the plan's ranks.
  ///   - path: of the packed weight file.
  package init(
    _ plan: GatherPlan, rank: Int, of rankCount: Int, path: String, coordinator: RankLink, device: CPUDevice
  ) throws {
    shard = try GatherShard(GatherShares(plan.items, rankCount: rankCount), rank: rank, path: path, device: device)
    self.coordinator = coordinator
  }

  package func run(mostMessages: Int?) throws {
    var messages = 0
    while mostMessages.map({ messages < $0 }) ?? true {
      messages += 1
      let message = try RankMessage.receive(into: words, over: coordinator.receive, from: coordinator.peer)
      switch message.kind {
      case .stop: return
      case .share: try answer()
      case .plan, .tile, .report, .pack, .unpack: throw malformed("a rank that holds weights is told to compute")
      }
    }
  }

  private func answer() throws(ChannelError) {
    words.beginReading()
    let (item, first, count) = (Int(words.next()), Int(words.next()), Int(words.next()))
    guard !words.isOverrun, words.remaining == 0, count > 0,
      let bytes = shard.bytes(of: item, pages: first..<first + count)
    else { throw malformed("pages \(first) and \(count - 1) more of item \(item), which are not here") }
    try coordinator.send.sendAll(bytes)
  }

  private func malformed(_ reason: String) -> ChannelError { .malformed(peer: coordinator.peer, reason: reason) }
}
