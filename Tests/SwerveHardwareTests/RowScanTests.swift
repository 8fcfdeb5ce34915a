import Glibc
import SwerveCore
import SwerveHardware
import Testing

/// Searches of a row against the order of sampling written down plainly.
@Suite struct RowScanTests {
  private struct Case {
    let row: UnsafeMutableBufferPointer<Float>
    let maxima: [Float]
    /// Tokens in the order of sampling; without −∞ and NaN.
    let order: [Int]
  }

  private func makeCase(_ columns: Int, _ random: inout Random) -> Case {
    let row = UnsafeMutableBufferPointer<Float>.allocate(capacity: columns)
    // Few distinct values: ties everywhere, both zeros, what is never a candidate.
    for place in 0..<columns {
      switch Int.random(in: 0..<40, using: &random) {
      case 0: row.initializeElement(at: place, to: -.infinity)
      case 1: row.initializeElement(at: place, to: .nan)
      case 2: row.initializeElement(at: place, to: -0.0)
      default: row.initializeElement(at: place, to: Float(Int.random(in: -30...30, using: &random)) / 8)
      }
    }
    let maxima = stride(from: 0, to: columns, by: 1024).map { begin in
      row[begin..<min(begin + 1024, columns)].filter { !$0.isNaN }.max() ?? -.infinity
    }
    let order = row.indices.filter { row[$0] > -.infinity }.sorted { (-row[$0], $0) < (-row[$1], $1) }
    return Case(row: row, maxima: maxima, order: order)
  }

  @Test(arguments: testedSets, [1, 16, 17, 1023, 1024, 1025, 3000])
  func `Keys, counts, masses and places are those of the sorted row`(_ set: KernelSet, _ columns: Int) throws {
    var random = Random(UInt64(columns))
    let device = try device(set)
    for _ in 0..<4 {
      let one = makeCase(columns, &random)
      defer { one.row.deallocate() }
      try one.maxima.withUnsafeBufferPointer { maxima in
        let scan = device.scan(one.row, maxima: try #require(maxima.baseAddress))
        // Keys: integers in descending order are the order of sampling, down to the floor.
        for floor in [-Float.infinity, -1, 0, 2.5, 100] {
          var keys = [UInt64](repeating: 0, count: columns)
          let count = keys.withUnsafeMutableBufferPointer { scan.keys(from: floor, into: $0.baseAddress!) }
          let tokens = keys[..<count].sorted(by: >).map { Int(~UInt32(truncatingIfNeeded: $0)) }
          #expect(tokens == one.order.filter { one.row[$0] >= floor })
          #expect(keys[count...].allSatisfy { $0 == 0 })
        }
        for (rank, token) in one.order.enumerated() where columns < 100 || rank % 37 == 0 {
          let bound = scan.bound(of: token)
          #expect(scan.count(before: bound) == rank)
          checkMasses(scan, bound, before: Array(one.order[..<rank]))
        }
        checkMasses(scan, scan.bound(below: -.infinity), before: one.order)
        checkMasses(scan, scan.bound(below: 1), before: one.order.filter { one.row[$0] >= 1 })
      }
    }
  }

  /// Far below the largest logit a token's mass is zero in single precision: it must never be the one found, also where
  /// roundings leave more than all masses.
  @Test(arguments: testedSets, [17, 64, 100, 1024]) func `A token without mass is never found`(
    _ set: KernelSet, _ columns: Int
  ) throws {
    let row = UnsafeMutableBufferPointer<Float>.allocate(capacity: columns)
    defer { row.deallocate() }
    let device = try device(set)
    for likely in [[0], [columns / 2], [3, columns / 2 + 1], [columns - 1], []] {
      row.initialize(repeating: -300)
      for token in likely { row[token] = 2 }
      let maxima = [likely.isEmpty ? -300 : Float(2)]
      try maxima.withUnsafeBufferPointer { maxima in
        let scan = device.scan(row, maxima: try #require(maxima.baseAddress))
        let all = scan.bound(below: -.infinity)
        for left in [0, 0.5, 1 - 1e-7, 1, 1 + 1e-7, 1.5, 2 - 1e-7, 2, 2 + 1e-7, 10, .infinity] {
          let found = scan.find(before: all, shift: 2, piece: 0, left: left)
          let place = left < 1 ? 0 : 1
          #expect(found == (likely.isEmpty ? nil : likely[min(place, likely.count - 1)]), "\(likely), left \(left)")
        }
        // A bound in the middle: those before it with the same logit count, others do not.
        if let last = likely.last {
          let found = scan.find(before: scan.bound(of: last), shift: 2, piece: 0, left: 5)
          #expect(found == likely.dropLast().last)
        }
      }
    }
  }

  private func checkMasses(_ scan: RowScan, _ bound: RowScan.Bound, before: [Int]) {
    let shift: Float = 3.75
    var masses = [Double](repeating: -1, count: scan.pieces)
    let total = masses.withUnsafeMutableBufferPointer {
      scan.masses(before: bound, shift: shift, into: $0.baseAddress!)
    }
    func mass(_ token: Int) -> Double { exp(Double(scan.logits[token]) - Double(shift)) }
    #expect(abs(total - before.reduce(0) { $0 + mass($1) }) <= 1e-5 * max(total, 1e-3))
    for piece in masses.indices {
      let inside = before.filter { $0 / 1024 == piece }.sorted()
      let expected = inside.reduce(0) { $0 + mass($1) }
      #expect(abs(masses[piece] - expected) <= 1e-5 * max(expected, 1e-3))
      // In the middle of a token's mass the walk must stop at that token.
      var sum = 0.0
      for (place, token) in inside.enumerated() {
        if place % 29 == 0 || place == inside.count - 1 {
          #expect(scan.find(before: bound, shift: shift, piece: piece, left: sum + mass(token) / 2) == token)
        }
        sum += mass(token)
      }
      #expect(scan.find(before: bound, shift: shift, piece: piece, left: 2 * sum + 1) == inside.last)
    }
  }
}
