internal import CSwerveKernels

/// One row of logits as the thread that holds it searches it, with the kernel set's loops. Pieces whose maximum shows
/// that they hold nothing of interest are not read. Valid as long as the row and its maxima.
///
/// The exact order of sampling: larger logit first, lower token among equals. A bound is a place in it; the tokens before
/// it are those that come earlier, itself excluded.
package struct RowScan {
  /// [vocabulary]
  package let logits: UnsafeMutableBufferPointer<Float>
  private let maxima: UnsafePointer<Float>
  private let kernels: OpaquePointer

  /// A place in the order: a token's own, or one that no token has.
  package struct Bound: Sendable, Hashable {
    package var value: Float
    package var token: Int

    package init(value: Float, token: Int) {
      self.value = value
      self.token = token
    }
  }

  init(logits: UnsafeMutableBufferPointer<Float>, maxima: UnsafePointer<Float>, kernels: OpaquePointer) {
    self.logits = logits
    self.maxima = maxima
    self.kernels = kernels
  }

  package var pieces: Int { StatisticsTable.pieces(logits.count) }

  /// Where this token stands.
  package func bound(of token: Int) -> Bound { Bound(value: logits[token], token: token) }

  /// After every token with a logit of at least `floor`.
  package func bound(below floor: Float) -> Bound {
    Bound(value: max(floor, -Float.greatestFiniteMagnitude), token: logits.count)
  }

  /// Writes a key for every token with a logit of at least `floor` and more than −∞, in token order, and answers how
  /// many. Integers in descending order are tokens in the order of sampling: the logit in an order-preserving form
  /// above, the complement of the token below.
  ///
  /// - Parameter keys: room for the vocabulary.
  package func keys(from floor: Float, into keys: UnsafeMutablePointer<UInt64>) -> Int {
    withRow { swerve_row_keys($0, max(floor, -Float.greatestFiniteMagnitude), keys) }
  }

  /// How many tokens stand before the bound.
  package func count(before bound: Bound) -> Int { withRow { swerve_row_count($0, kernelBound(bound)) } }

  /// exp(logit − shift) of the tokens before the bound, summed by piece into `masses` [pieces]; answers their sum.
  package func masses(before bound: Bound, shift: Float, into masses: UnsafeMutablePointer<Double>) -> Double {
    withRow { swerve_row_masses($0, kernelBound(bound), shift, masses) }
  }

  /// Walks a piece's tokens that stand before the bound: the first at which their masses exceed `left`, the last of them
  /// where they do not; nil where there is none.
  package func find(before bound: Bound, shift: Float, piece: Int, left: Double) -> Int? {
    precondition((0..<pieces).contains(piece), "a piece outside the row")
    let found = withRow { swerve_row_find($0, kernelBound(bound), shift, piece, left) }
    return found < 0 ? nil : Int(found)
  }

  private func kernelBound(_ bound: Bound) -> swerve_bound {
    swerve_bound(value: max(bound.value, -Float.greatestFiniteMagnitude), token: bound.token)
  }

  @inline(__always)
  private func withRow<Result>(_ body: (UnsafePointer<swerve_row>) -> Result) -> Result {
    withUnsafePointer(
      to: swerve_row(kernels: kernels, logits: logits.baseAddress, columns: logits.count, maxima: maxima), body)
  }
}
