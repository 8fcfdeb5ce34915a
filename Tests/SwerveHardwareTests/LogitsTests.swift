import Glibc
import SwerveCore
import SwerveHardware
import Testing

@Suite struct LogitsTests {
  @Test(arguments: testedSets, [1, 15, 16, 17, 251, 4097, 20_011])
  func `Maximum, its first place and log-sum-exp agree with double precision`(_ set: KernelSet, _ columns: Int) throws {
    var random = Random(23)
    let device = try device(set, threads: 2)
    let rows = 7
    var values = random.floats(rows * columns, scale: 12)
    // A tie in row 1: the lower index wins. A NaN in row 2 is never chosen.
    values[columns] = 20
    values[columns + columns - 1] = 20
    if columns > 1 { values[2 * columns] = .nan }
    let logits = Rows(values, .float32, rows: rows, columns: columns)
    var indices = [Int32](repeating: -1, count: rows)
    var maxima = [Float](repeating: 0, count: rows), sums = maxima
    var i = indices.mutableSpan, m = maxima.mutableSpan, l = sums.mutableSpan
    device.maximaAndLogSumExp(logits.tensor, indices: &i, maxima: &m, logSumExps: &l)
    for row in 0..<rows {
      let line = Array(values[row * columns..<(row + 1) * columns])
      let top = line.filter { !$0.isNaN }.max() ?? -.infinity
      #expect(maxima[row] == top)
      #expect(indices[row] == Int32(line.firstIndex(of: top) ?? 0))
      guard !line.contains(where: \.isNaN) else { continue }
      let expected = Double(top) + log(line.reduce(0) { $0 + exp(Double($1) - Double(top)) })
      #expect(abs(Double(sums[row]) - expected) <= 2e-6 * max(1, abs(expected)))
    }
    var again = [Int32](repeating: -1, count: rows)
    var span = again.mutableSpan
    device.argmax(logits.tensor, into: &span)
    #expect(again == indices)
  }

  @Test(arguments: testedSets)
  func `Masked and infinite logits give finite or infinite sums, never NaN`(_ set: KernelSet) throws {
    let device = try device(set)
    let lines: [[Float]] = [
      [Float](repeating: -.infinity, count: 33), [-.infinity, 3] + [Float](repeating: -.infinity, count: 31),
      [.infinity] + [Float](repeating: 0, count: 32),
    ]
    let logits = Rows(lines.flatMap { $0 }, .float32, rows: 3, columns: 33)
    var indices = [Int32](repeating: -1, count: 3)
    var maxima = [Float](repeating: 0, count: 3), sums = maxima
    var i = indices.mutableSpan, m = maxima.mutableSpan, l = sums.mutableSpan
    device.maximaAndLogSumExp(logits.tensor, indices: &i, maxima: &m, logSumExps: &l)
    #expect(indices == [0, 1, 0])
    #expect(maxima == [-.infinity, 3, .infinity])
    #expect(sums == [-.infinity, 3, .infinity])
  }

  @Test(arguments: testedSets)
  func `Scaled rows are the products`(_ set: KernelSet) throws {
    var random = Random(29)
    let device = try device(set)
    let values = random.floats(3 * 77)
    let logits = Rows(values, .float32, rows: 3, columns: 77)
    let factors: [Float] = [0.5, 1, 1.25]
    device.scaleRows(logits.tensor, by: factors.span)
    for row in 0..<3 {
      #expect(logits.row(row) == values[row * 77..<(row + 1) * 77].map { $0 * factors[row] })
    }
  }
}
