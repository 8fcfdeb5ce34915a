package import SwerveCore
package import SwerveInference

/// A direction between two ranks, which has a channel of its own: which there are, and in which order they lie in memory,
/// follows from the layout alone.
package struct RankWay: Sendable, Hashable {
  package enum Purpose: Sendable, Hashable {
    /// What rank 0 says to another, which waits for it all day.
    case control
    /// What rank 0 is told.
    case answer
    /// Sums, between tensor ranks of a stage.
    case tensor
    /// Residual rows, to the next stage.
    case stage
    /// Which plan the stage before is to execute, of the one behind it.
    case agreement
  }

  package var from: Int
  package var to: Int
  package var purpose: Purpose

  package static func all(_ layout: RankLayout) -> [RankWay] {
    var ways: [RankWay] = []
    for rank in 0..<layout.rankCount {
      if rank > 0 {
        ways.append(RankWay(from: 0, to: rank, purpose: .control))
        ways.append(RankWay(from: rank, to: 0, purpose: .answer))
      }
      for partner in partners(rank, layout) { ways.append(RankWay(from: rank, to: partner, purpose: .tensor)) }
      if let next = stage(rank, 1, layout) {
        ways.append(RankWay(from: rank, to: next, purpose: .stage))
        ways.append(RankWay(from: next, to: rank, purpose: .agreement))
      }
    }
    return ways
  }

  /// How many deadlines the receiver waits; nil = for ever. Whoever waits for a rank that itself waits is the more patient,
  /// so that the first to complain names the one at fault.
  package func patience(_ layout: RankLayout) -> Double? {
    let sender = layout.shape(from)
    let receiver = layout.shape(to)
    let stage = 0.5 * Double(receiver.stage)
    switch purpose {
    case .control: return nil
    case .tensor: return 1 + stage + 0.1 * Double((sender.tensorRank ^ receiver.tensorRank).trailingZeroBitCount)
    case .stage: return 0.8 + stage
    // The next stage's rank agrees with its tensor partners first.
    case .agreement: return 1.3 + 0.5 * Double(sender.stage)
    case .answer: return 1.5 + stage
    }
  }

  /// [levels] with which a rank exchanges sums.
  fileprivate static func partners(_ rank: Int, _ layout: RankLayout) -> [Int] {
    if layout.isHolder(rank) { return [] }
    let shape = layout.shape(rank)
    return (0..<shape.tensorSize.trailingZeroBitCount).map {
      layout.rank(stage: shape.stage, tensorRank: shape.tensorRank ^ 1 << $0)
    }
  }

  /// The same tensor rank so many stages further; nil where there is no such stage.
  fileprivate static func stage(_ rank: Int, _ distance: Int, _ layout: RankLayout) -> Int? {
    if layout.isHolder(rank) { return nil }
    let shape = layout.shape(rank)
    guard layout.stages.indices.contains(shape.stage + distance) else { return nil }
    return layout.rank(stage: shape.stage + distance, tensorRank: shape.tensorRank)
  }
}

extension RankLinks {
  /// A rank's ends of its channels.
  ///
  /// - Parameter end: the end of a way, and whether it is the sender's.
  package init(_ rank: Int, of layout: RankLayout, end: (_ way: RankWay, _ sends: Bool) -> any Channel) {
    self.init()
    for partner in RankWay.partners(rank, layout) {
      tensor.append(
        RankLink(
          peer: layout.name(partner), send: end(RankWay(from: rank, to: partner, purpose: .tensor), true),
          receive: end(RankWay(from: partner, to: rank, purpose: .tensor), false)))
    }
    if let before = RankWay.stage(rank, -1, layout) {
      previous = RankLink(
        peer: layout.name(before), send: end(RankWay(from: rank, to: before, purpose: .agreement), true),
        receive: end(RankWay(from: before, to: rank, purpose: .stage), false))
    }
    if let after = RankWay.stage(rank, 1, layout) {
      next = RankLink(
        peer: layout.name(after), send: end(RankWay(from: rank, to: after, purpose: .stage), true),
        receive: end(RankWay(from: after, to: rank, purpose: .agreement), false))
    }
    if rank == 0 {
      holders = (layout.computingCount..<layout.rankCount).map {
        RankLink(
          peer: layout.name($0), send: end(RankWay(from: 0, to: $0, purpose: .control), true),
          receive: end(RankWay(from: $0, to: 0, purpose: .answer), false))
      }
    }
    if rank > 0 {
      coordinator = RankLink(
        peer: layout.name(0), send: end(RankWay(from: rank, to: 0, purpose: .answer), true),
        receive: end(RankWay(from: 0, to: rank, purpose: .control), false))
    }
  }
}

extension RankCoordinator {
  /// Rank 0's way to all others.
  package convenience init(_ layout: RankLayout, end: (_ way: RankWay, _ sends: Bool) -> any Channel) {
    self.init(
      links: (1..<layout.computingCount).map {
        RankLink(
          peer: layout.name($0), send: end(RankWay(from: 0, to: $0, purpose: .control), true),
          receive: end(RankWay(from: $0, to: 0, purpose: .answer), false))
      })
  }
}
