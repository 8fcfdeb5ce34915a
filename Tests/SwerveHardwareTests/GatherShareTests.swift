import Foundation
import SwerveCore
import SwerveHardware
import Testing

/// Items shared out among ranks in pages.
@Suite struct GatherShareTests {
  static let items = [(8192, 10_000), (0, 4096), (28_672, 50_001), (81_920, 1)].map {
    GatherItem(offset: $0.0, byteCount: $0.1)
  }

  @Test(arguments: 1...6) func `every page is one rank's`(ranks: Int) {
    let shares = GatherShares(Self.items, rankCount: ranks)
    var bytes = 0
    for (index, item) in Self.items.enumerated() {
      var next = 0
      for rank in 0..<ranks {
        let pages = shares.pages(of: index, rank: rank)
        #expect(pages.lowerBound == next)
        next = pages.upperBound
      }
      #expect(next == (item.byteCount + 4095) / 4096)
      #expect(shares.item(at: item.offset) == index && shares.item(at: item.offset + item.byteCount - 1) == index)
      bytes += next * 4096
    }
    #expect((0..<ranks).reduce(0) { $0 + shares.byteCount(rank: $1) } == bytes)
    #expect(shares.item(at: 4096) == nil && shares.item(at: 90_000) == nil)
  }

  @Test func `a shard has its pages and no others`() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "swerve-shard-\(UUID().uuidString)").path()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let all = (0..<90_112).map { GatherRingTests.byte($0) }
    try Data(all).write(to: URL(filePath: path))
    let device = try GatherRingTests.device()
    let shares = GatherShares(Self.items, rankCount: 3)
    for rank in 0..<3 {
      let shard = try GatherShard(shares, rank: rank, path: path, device: device)
      for (index, item) in Self.items.enumerated() {
        let pages = shares.pages(of: index, rank: rank)
        for page in pages {
          let bytes = try #require(shard.bytes(of: index, pages: page..<page + 1))
          let begin = item.offset + page * 4096
          let count = min(4096, item.byteCount - page * 4096)
          #expect(Array(bytes.prefix(count)) == Array(all[begin..<begin + count]), "rank \(rank), page \(page)")
        }
        #expect(shard.bytes(of: index, pages: pages.lowerBound..<pages.upperBound + 1) == nil)
        if pages.lowerBound > 0 { #expect(shard.bytes(of: index, pages: 0..<1) == nil) }
      }
      #expect(shard.bytes(of: 9, pages: 0..<1) == nil && shard.bytes(of: -1, pages: 0..<1) == nil)
    }
    #expect(throws: GatherError.self) {
      _ = try GatherShard(
        GatherShares([GatherItem(offset: 86_016, byteCount: 20_000)], rankCount: 1), rank: 0, path: path,
        device: device)
    }
  }
}
