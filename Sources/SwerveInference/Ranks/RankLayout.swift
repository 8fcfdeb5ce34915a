/// Which rank computes what. Rank 0 is the first tensor rank of the last stage, where tokens are chosen; ranks go down the
/// stages from there.
package struct RankLayout: Sendable, Hashable {
  package let tensorSize: Int
  /// [stages] layers of each.
  package let stages: [Range<Int>]
  /// Whether sums over ranks keep the order of one rank's.
  package let isExact: Bool

  /// Ranks behind those that compute: each holds a share of the weights, which rank 0 fetches.
  package var holderCount = 0

  package var computingCount: Int { tensorSize * stages.count }
  package var rankCount: Int { computingCount + holderCount }

  package func isHolder(_ rank: Int) -> Bool { rank >= computingCount }

  /// - Parameters:
  ///   - split: layers of each stage; nil: as even as can be, the later stages smaller (the last one has the output head).
  ///   - virtualShards: what the user takes for the number of cuts of a sum.
  /// - Throws: `ParallelismError` with every size that does not divide and those that do.
  package init(
    _ model: ModelConfiguration, tensorSize: Int = 1, stageCount: Int = 1, split: [Int]? = nil, isExact: Bool = true
  ) throws(ParallelismError) {
    var problems = Self.problems(model, tensorSize: tensorSize, isExact: isExact)
    var counts: [Int] = []
    if let split {
      counts = split
      if split.count != stageCount || split.reduce(0, +) != model.layerCount || split.contains(where: { $0 < 1 }) {
        problems.append(
          "--pipeline-split \(split.map(String.init).joined(separator: ",")) must give each of the \(stageCount) stages at "
            + "least one of the model's \(model.layerCount) layers, and all of them together.")
      }
    } else if (1...model.layerCount).contains(stageCount) {
      counts = (0..<stageCount).map {
        model.layerCount / stageCount + ($0 < model.layerCount % stageCount ? 1 : 0)
      }
    } else {
      problems.append(
        "--pipeline-parallel-size \(stageCount) is not possible with \(model.layerCount) layers; use 1 to "
          + "\(model.layerCount).")
    }
    guard problems.isEmpty else { throw ParallelismError(problems: problems) }
    self.tensorSize = tensorSize
    self.isExact = isExact
    var first = 0
    stages = counts.map { count in
      defer { first += count }
      return first..<first + count
    }
  }

  private static func problems(_ model: ModelConfiguration, tensorSize: Int, isExact: Bool) -> [String] {
    let legal = [1, 2, 4, 8].filter { isPossible(model, $0, isExact: isExact) }
    if legal.contains(tensorSize) { return [] }
    var sentence =
      "--tensor-parallel-size \(tensorSize) is not possible with this model (\(model.headCount) heads, "
      + "\(model.keyValueHeadCount) KV heads, \(model.intermediateSize) MLP columns); possible "
      + (legal.count == 1 ? "is " : "are ") + legal.map(String.init).joined(separator: ", ")
    if isExact, isPossible(model, tensorSize, isExact: false) {
      sentence += ", and this size with --reduction fast, whose tokens may differ"
    }
    return [sentence + "."]
  }

  /// An exact sum needs whole cuts of it for every rank. Else heads and columns must divide, and KV heads divide or be
  /// shared evenly.
  package static func isPossible(_ model: ModelConfiguration, _ size: Int, isExact: Bool) -> Bool {
    guard [1, 2, 4, 8].contains(size) else { return false }
    if isExact || size == 1 { return model.reductionShards % size == 0 }
    let heads = model.keyValueHeadCount
    return model.headCount % size == 0 && model.intermediateSize % size == 0
      && (heads % size == 0 || size % heads == 0)
  }

  // MARK: Ranks

  /// Of a holder: rank 0's, whose weights it has a share of.
  ///
  /// - Precondition: `rank` is in 0 ..< rankCount.
  package func shape(_ rank: Int) -> RankShape {
    if isHolder(rank) { return shape(0) }
    let stage = stages.count - 1 - rank / tensorSize
    var shape = RankShape(layers: stages[stage])
    shape.tensorRank = rank % tensorSize
    shape.tensorSize = tensorSize
    shape.stage = stage
    shape.stageCount = stages.count
    shape.isExact = isExact
    return shape
  }

  package func rank(stage: Int, tensorRank: Int) -> Int { (stages.count - 1 - stage) * tensorSize + tensorRank }

  /// For messages: "rank 3 (stage 0, tensor rank 1)".
  package func name(_ rank: Int) -> String {
    if isHolder(rank) { return "rank \(rank) (a share of the weights)" }
    let shape = shape(rank)
    return "rank \(rank) (stage \(shape.stage), tensor rank \(shape.tensorRank))"
  }
}

/// Sizes that a model cannot be split into.
package struct ParallelismError: Error, Hashable, CustomStringConvertible {
  /// One sentence each.
  package var problems: [String]

  package init(problems: [String]) { self.problems = problems }

  package var description: String { problems.joined(separator: " ") }
}
