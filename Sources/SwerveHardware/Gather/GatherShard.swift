internal import SwerveCore

/// Who holds what of items that are shared out among ranks: each has the same share of every item, in whole pages, so that
/// all of them deliver at once.
package struct GatherShares: Sendable {
  /// Bytes of a page.
  package static let page = GatherItem.alignment

  package let items: [GatherItem]
  /// ≥ 1
  package let rankCount: Int
  /// [items] by where they begin in their file, and their numbers.
  private let order: [(offset: Int, item: Int)]
  /// [ranks] [items] where a rank's pages of an item begin in its shard. Pages.
  private let starts: [[Int]]

  package init(_ items: [GatherItem], rankCount: Int) {
    precondition(rankCount >= 1, "somebody holds the items")
    self.items = items
    self.rankCount = rankCount
    order = items.enumerated().map { ($1.offset, $0) }.sorted { $0.offset < $1.offset }
    starts = (0..<rankCount).map { rank in
      var next = 0
      return items.map { item in
        defer { next += Self.pages(of: item, rank, rankCount).count }
        return next
      }
    }
  }

  private static func pages(of item: GatherItem, _ rank: Int, _ ranks: Int) -> Range<Int> {
    let all = GatherItem.aligned(item.byteCount) / page
    return all * rank / ranks..<all * (rank + 1) / ranks
  }

  /// Pages of an item that a rank holds, from the item's first one.
  package func pages(of item: Int, rank: Int) -> Range<Int> { Self.pages(of: items[item], rank, rankCount) }

  /// Where they begin in its shard. Pages.
  func start(of item: Int, rank: Int) -> Int { starts[rank][item] }

  /// Bytes that a rank holds.
  package func byteCount(rank: Int) -> Int {
    items.indices.reduce(0) { $0 + pages(of: $1, rank: rank).count } * Self.page
  }

  /// The item that a byte of the file belongs to; nil for one between items.
  package func item(at offset: Int) -> Int? {
    var (low, high) = (0, order.count)
    while low < high {
      let middle = (low + high) / 2
      if order[middle].offset <= offset { low = middle + 1 } else { high = middle }
    }
    guard low > 0 else { return nil }
    let found = order[low - 1]
    return offset < found.offset + GatherItem.aligned(items[found.item].byteCount) ? found.item : nil
  }
}

/// A rank's share of all items, in its memory. Constant once read.
package final class GatherShard: Sendable {
  package let shares: GatherShares
  package let rank: Int
  private let memory: GatherMemory

  /// Reads the share from the file, past the page cache.
  ///
  /// - Throws: `GatherError` for the file, `HardwareError` for memory.
  package init(_ shares: GatherShares, rank: Int, path: String, device: CPUDevice) throws {
    self.shares = shares
    self.rank = rank
    memory = try GatherMemory(byteCount: shares.byteCount(rank: rank), device: device)
    let file = try GatherFile(path: path, caching: .bypassed)
    for (index, item) in shares.items.enumerated() {
      let pages = shares.pages(of: index, rank: rank)
      for first in stride(from: pages.lowerBound, to: pages.upperBound, by: Self.readPages) {
        let part = first..<min(first + Self.readPages, pages.upperBound)
        let count = part.count * GatherShares.page
        let begin = part.lowerBound * GatherShares.page
        let target = memory.pointer + place(index, page: part.lowerBound)
        try file.read(
          into: UnsafeMutableRawBufferPointer(start: target, count: count), at: item.offset + begin,
          needed: min(count, item.byteCount - begin))
      }
    }
  }

  private static let readPages = 1024

  private func place(_ item: Int, page: Int) -> Int {
    (shares.start(of: item, rank: rank) + page - shares.pages(of: item, rank: rank).lowerBound) * GatherShares.page
  }

  package var byteCount: Int { memory.byteCount }

  /// Pages of an item; nil where this rank does not have all of them.
  package func bytes(of item: Int, pages: Range<Int>) -> UnsafeRawBufferPointer? {
    guard shares.items.indices.contains(item), !pages.isEmpty else { return nil }
    let own = shares.pages(of: item, rank: rank)
    guard pages.lowerBound >= own.lowerBound, pages.upperBound <= own.upperBound else { return nil }
    return UnsafeRawBufferPointer(
      start: memory.pointer + place(item, page: pages.lowerBound), count: pages.count * GatherShares.page)
  }
}
