// A model spread over ranks: what each computes and holds, and what they tell each other. Ranks take no decision of their
// own; the numbers do not depend on how many there are. This room must not start ranks (that is the executor's).
// Start with RankShape, then RankLayout, TensorGroup and RankWorker.

package import SwerveHardware

/// What one rank computes: a share of every layer of a stage. Tensor ranks of a stage share heads, the MLP's width and the
/// vocabulary; stages share the layers.
package struct RankShape: Sendable, Hashable {
  /// 0 ..< tensorSize
  package var tensorRank = 0
  /// 1, 2, 4 or 8
  package var tensorSize = 1
  /// 0 ..< stageCount; stage 0 begins with the embedding, the last one ends with the output head.
  package var stage = 0
  package var stageCount = 1
  /// Layers of the stage.
  package var layers: Range<Int>
  /// Whether sums over ranks keep the order of one rank's.
  package var isExact = true

  package init(layers: Range<Int>) { self.layers = layers }

  /// One rank for everything.
  package static func whole(_ model: ModelConfiguration) -> RankShape { RankShape(layers: 0..<model.layerCount) }

  package var isFirstStage: Bool { stage == 0 }
  package var isLastStage: Bool { stage == stageCount - 1 }

  /// The part of `count` equal things that is this rank's; with fewer things than ranks several ranks have the same one.
  package func share(_ count: Int) -> MatrixPart {
    if count < tensorSize {
      let one = tensorRank * count / tensorSize
      return MatrixPart(one..<one + 1, of: count)
    }
    let each = count / tensorSize
    return MatrixPart(tensorRank * each..<(tensorRank + 1) * each, of: count)
  }

  /// Tokens whose logits and embeddings this rank has: whole pieces of the sampler's statistics. Empty where there are
  /// fewer pieces than ranks; never for rank 0.
  package func vocabulary(_ size: Int) -> Range<Int> { Self.vocabulary(size, rank: tensorRank, of: tensorSize) }

  package static func vocabulary(_ size: Int, rank: Int, of ranks: Int) -> Range<Int> {
    let pieces = StatisticsTable.pieces(size)
    func begin(_ rank: Int) -> Int {
      min(size, (pieces * rank + ranks - 1) / ranks * StatisticsTable.pieceWidth)
    }
    return begin(rank)..<begin(rank + 1)
  }
}

extension ModelConfiguration {
  /// The sizes of a rank's layers. The vocabulary stays whole.
  package func share(_ shape: RankShape) -> ModelConfiguration {
    var part = self
    part.layerCount = shape.layers.count
    part.windows = Array(windows[shape.layers])
    guard shape.tensorSize > 1 else { return part }
    part.headCount = shape.share(headCount).range.count
    part.keyValueHeadCount = shape.share(keyValueHeadCount).range.count
    part.intermediateSize = shape.share(intermediateSize).range.count
    return part
  }

  /// Cuts of a row-parallel product's inputs that one rank has.
  package func reductionShards(_ shape: RankShape) -> Int { max(1, reductionShards / shape.tensorSize) }

  /// Whether every rank's share of a matrix packed as a whole is whole blocks of it.
  func canSharePacked(_ ranks: Int, policy: WeightPolicy) -> Bool {
    var shape = RankShape.whole(self)
    shape.tensorSize = ranks
    let part = share(shape)
    let shards = reductionShards
    func isWhole(_ inputs: Int) -> Bool {
      let format = policy.format(inputs: inputs, segments: shards)
      return !format.roundsRows && inputs / ranks % PackedWeight.inputUnit(format) == 0
    }
    return [part.queryWidth, part.keyValueHeadCount * headDim, part.intermediateSize].allSatisfy { $0 % 16 == 0 }
      && isWhole(queryWidth) && isWhole(intermediateSize)
  }

  /// Cuts that a row-parallel matrix's format must fit.
  func policySegments(_ shape: RankShape) -> Int { max(reductionShards, shape.tensorSize) }
}
