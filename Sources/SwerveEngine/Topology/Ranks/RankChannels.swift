package import SwerveCore
package import SwerveInference

/// All channels of a group of ranks: which there are follows from the layout alone.
package struct RankChannels<Kind: Channel> {
  /// A direction between two ranks. Control is what rank 0 says to another, which waits for it all day.
  private struct Way: Hashable {
    enum Purpose: Hashable { case control, answer, tensor, stage }

    var from: Int
    var to: Int
    var purpose: Purpose
  }

  private let layout: RankLayout
  private let channels: [Way: Kind]

  /// - Parameter make: a channel from one rank to another, and how many deadlines its receiver waits; nil = for ever.
  package init(_ layout: RankLayout, make: (_ from: Int, _ to: Int, _ patience: Double?) -> Kind) {
    self.layout = layout
    var channels: [Way: Kind] = [:]
    for way in Self.ways(layout) { channels[way] = make(way.from, way.to, Self.patience(way, layout)) }
    self.channels = channels
  }

  /// Whoever waits for a rank that itself waits is the more patient, so that the first to complain names the one at fault.
  private static func patience(_ way: Way, _ layout: RankLayout) -> Double? {
    let from = layout.shape(way.from)
    let to = layout.shape(way.to)
    switch way.purpose {
    case .control: return nil
    case .tensor:
      return 1 + 0.5 * Double(to.stage) + 0.1 * Double((from.tensorRank ^ to.tensorRank).trailingZeroBitCount)
    case .stage: return 0.8 + 0.5 * Double(to.stage)
    case .answer: return 1.5 + 0.5 * Double(to.stage)
    }
  }

  private static func ways(_ layout: RankLayout) -> [Way] {
    var ways: [Way] = []
    for rank in 0..<layout.rankCount {
      let shape = layout.shape(rank)
      if rank > 0 {
        ways.append(Way(from: 0, to: rank, purpose: .control))
        ways.append(Way(from: rank, to: 0, purpose: .answer))
      }
      var distance = 1
      while distance < shape.tensorSize {
        let partner = layout.rank(stage: shape.stage, tensorRank: shape.tensorRank ^ distance)
        ways.append(Way(from: rank, to: partner, purpose: .tensor))
        distance *= 2
      }
      if !shape.isLastStage {
        let next = layout.rank(stage: shape.stage + 1, tensorRank: shape.tensorRank)
        ways.append(Way(from: rank, to: next, purpose: .stage))
      }
    }
    return ways
  }

  package var all: [Kind] { Array(channels.values) }

  /// Those that a rank writes or reads.
  package func of(_ rank: Int) -> [Kind] {
    channels.filter { $0.key.from == rank || $0.key.to == rank }.map(\.value)
  }

  private subscript(_ from: Int, _ to: Int, _ purpose: Way.Purpose) -> Kind {
    guard let channel = channels[Way(from: from, to: to, purpose: purpose)] else {
      preconditionFailure("a channel that the layout has not got")
    }
    return channel
  }

  /// A rank's ends.
  package func links(_ rank: Int) -> RankLinks {
    let shape = layout.shape(rank)
    var links = RankLinks()
    var distance = 1
    while distance < shape.tensorSize {
      let partner = layout.rank(stage: shape.stage, tensorRank: shape.tensorRank ^ distance)
      links.tensor.append(
        RankLink(
          peer: layout.name(partner), send: self[rank, partner, .tensor], receive: self[partner, rank, .tensor]))
      distance *= 2
    }
    if !shape.isFirstStage {
      let previous = layout.rank(stage: shape.stage - 1, tensorRank: shape.tensorRank)
      let channel = self[previous, rank, .stage]
      links.previous = RankLink(peer: layout.name(previous), send: channel, receive: channel)
    }
    if !shape.isLastStage {
      let next = layout.rank(stage: shape.stage + 1, tensorRank: shape.tensorRank)
      let channel = self[rank, next, .stage]
      links.next = RankLink(peer: layout.name(next), send: channel, receive: channel)
    }
    if rank > 0 {
      links.coordinator = RankLink(
        peer: layout.name(0), send: self[rank, 0, .answer], receive: self[0, rank, .control])
    }
    return links
  }

  /// Rank 0's way to ranks 1, 2, …
  package var coordinatorLinks: [RankLink] {
    (1..<layout.rankCount).map {
      RankLink(peer: layout.name($0), send: self[0, $0, .control], receive: self[$0, 0, .answer])
    }
  }
}

extension RankChannels: Sendable where Kind: Sendable {}
