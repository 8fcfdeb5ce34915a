import SwerveCore
import SwerveHardware

/// A tile of logits whose columns the tensor ranks of the last stage compute: rank 0 tells the others which rows it wants
/// and what of each, and puts their columns and statistics beside its own. Every rank's columns are whole pieces, so the
/// sampler finds what one rank alone would have computed.
struct LogitsGather {
  /// A rank that computes some of the columns.
  private struct Peer {
    /// Among the tensor ranks of the stage.
    var rank: Int
    var link: RankLink
    var columns: Range<Int>
    var statistics: TileStatistics
  }

  private var peers: [Peer] = []
  private let own: TileStatistics
  private let words = RankWords()

  /// - Parameter links: to the tensor ranks 1, 2, … of the last stage.
  init(_ shape: RankShape, links: [RankLink], vocabularySize: Int, tileRows: Int) {
    func statistics(_ columns: Range<Int>) -> TileStatistics {
      TileStatistics(rows: tileRows, pieces: StatisticsTable.pieces(columns.count))
    }
    own = statistics(shape.vocabulary(vocabularySize))
    for (index, link) in links.enumerated() {
      let columns = RankShape.vocabulary(vocabularySize, rank: index + 1, of: shape.tensorSize)
      if !columns.isEmpty {
        peers.append(Peer(rank: index + 1, link: link, columns: columns, statistics: statistics(columns)))
      }
    }
  }

  /// - Parameter links: to the tensor ranks 1, 2, …, started anew.
  mutating func reconnect(_ links: [RankLink]) {
    for index in peers.indices { peers[index].link = links[peers[index].rank - 1] }
  }

  /// What this rank is to find of its own columns.
  func request(_ request: Sampler.HeadRequest) -> Sampler.HeadRequest {
    Sampler.HeadRequest(requests: request.requests, statistics: own.table, keepsLogits: request.keepsLogits)
  }

  /// Asks the other ranks for rows of the plan that was executed last.
  func ask(_ rows: [Int32], plan: UInt64, request: Sampler.HeadRequest) throws(ChannelError) {
    if peers.isEmpty { return }
    TileMessage.write(rows, request: request, into: words)
    for peer in peers { try RankMessage(.tile, plan: plan).send(words, over: peer.link.send) }
  }

  /// Takes what the others found, beside this rank's columns in `tile`.
  func collect(_ tile: Tensor, request: Sampler.HeadRequest) throws(ChannelError) {
    place(own, columns: 0, rows: tile.rows, into: request.statistics)
    for peer in peers {
      let name = peer.link.peer
      let channel = peer.link.receive
      let table = peer.statistics.table
      let count = tile.rows * table.pieces * 4
      func take(_ memory: UnsafeMutableRawPointer) throws(ChannelError) {
        try channel.receiveAll(into: UnsafeMutableRawBufferPointer(start: memory, count: count), from: name)
      }
      try take(table.places)
      try take(table.maxima)
      try take(table.logSums)
      place(peer.statistics, columns: peer.columns.lowerBound, rows: tile.rows, into: request.statistics)
      guard request.keepsLogits else { continue }
      for row in 0..<tile.rows {
        try channel.receiveAll(rows: tile.rows(row..<row + 1).columns(peer.columns).asLine, from: name)
      }
    }
  }

  private func place(_ part: TileStatistics, columns: Int, rows: Int, into table: StatisticsTable) {
    let first = columns / StatisticsTable.pieceWidth
    for row in 0..<rows {
      let from = part.table.from(row)
      let to = table.from(row)
      for piece in 0..<from.pieces {
        to.places[first + piece] = from.places[piece]
        to.maxima[first + piece] = from.maxima[piece]
        to.logSums[first + piece] = from.logSums[piece]
      }
    }
  }
}

extension Tensor {
  /// One row, which has no gap behind it.
  var asLine: Tensor {
    precondition(rows == 1, "one row")
    return Tensor(pointer: pointer, type: type, rows: 1, columns: columns)
  }
}

/// Rows of a tile and what is wanted of each.
enum TileMessage {
  static func write(_ rows: [Int32], request: Sampler.HeadRequest, into words: RankWords) {
    words.removeAll()
    words.append(UInt32(rows.count))
    words.append(UInt32(request.keepsLogits ? 1 : 0))
    for index in rows.indices {
      words.append(rows[index])
      words.append(request.requests[index].factor.bitPattern)
      words.append(request.requests[index].wanted.rawValue)
    }
  }

  /// Answers whether logits are wanted; nil for a message that a rank with `rowCount` rows cannot serve.
  static func read(
    _ words: RankWords, rows: inout [Int32], requests: UnsafeMutableBufferPointer<RowRequest>, rowCount: Int
  ) -> Bool? {
    rows.removeAll(keepingCapacity: true)
    words.beginReading()
    let count = Int(words.next())
    let keeps = words.next() != 0
    guard !words.isOverrun, (1...requests.count).contains(count), words.remaining == 3 * count else { return nil }
    for index in 0..<count {
      let row = words.nextInt()
      let factor = Float(bitPattern: words.next())
      guard (0..<rowCount).contains(Int(row)), let wanted = RowRequest.Wanted(rawValue: words.nextInt()) else {
        return nil
      }
      rows.append(row)
      requests[index] = RowRequest(factor: factor, wanted)
    }
    return keeps
  }
}
