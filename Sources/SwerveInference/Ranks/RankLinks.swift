import SwerveCore

/// A rank's channels to the others of its group.
package struct RankLinks {
  /// [levels] with tensor rank XOR 2^level of the same stage.
  package var tensor: [RankLink] = []
  /// Residual rows from the stage before, and to the next one: between equal tensor ranks.
  package var previous: RankLink?
  package var next: RankLink?
  /// What rank 0 says, and what it is told. nil on rank 0.
  package var coordinator: RankLink?
  /// [holders] from rank 0 to ranks that hold shares of the weights and compute nothing.
  package var holders: [RankLink] = []

  package init() {}

  /// Bytes that a message between ranks must be able to have.
  package static func messageBytes(hiddenSize: Int) -> Int { max(256 << 10, hiddenSize * 4) }
}
