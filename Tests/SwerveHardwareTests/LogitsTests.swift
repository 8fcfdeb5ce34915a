import Glibc
import SwerveCore
import SwerveHardware
import Testing

@Suite struct LogitsTests {
  /// `requests`: one a row.
  private func measured(
    _ logits: Rows, _ requests: [RowRequest], _ set: KernelSet, threads: Int = 1, here: Bool = false
  ) throws -> Statistics {
    let device = try device(set, threads: threads)
    let statistics = Statistics(rows: logits.tensor.rows, columns: logits.tensor.columns)
    requests.withUnsafeBufferPointer {
      guard let first = $0.baseAddress else { return }
      if here {
        device.statisticsHere(logits.tensor, requests: first, into: statistics.table)
      } else {
        device.statistics(logits.tensor, requests: first, into: statistics.table)
      }
    }
    return statistics
  }

  @Test(arguments: testedSets, [1, 15, 16, 17, 251, 1023, 1024, 1025, 4097, 20_011])
  func `Maxima, their first places and log-sums agree with double precision`(_ set: KernelSet, _ columns: Int) throws {
    var random = Random(23)
    let rows = 7
    var values = random.floats(rows * columns, scale: 12)
    // A tie in row 1: the lower index wins. A NaN in row 2 is never chosen.
    values[columns] = 20
    values[columns + min(columns, 1024) - 1] = 20
    if columns > 1 { values[2 * columns] = .nan }
    let logits = Rows(values, .float32, rows: rows, columns: columns)
    let statistics = try measured(logits, [RowRequest](repeating: RowRequest(.sums), count: rows), set, threads: 2)
    let alone = try measured(logits, [RowRequest](repeating: RowRequest(.sums), count: rows), set, here: true)
    for row in 0..<rows {
      for piece in 0..<StatisticsTable.pieces(columns) {
        let begin = row * columns + piece * 1024
        let line = Array(values[begin..<min(begin + 1024, (row + 1) * columns)])
        let top = line.filter { !$0.isNaN }.max() ?? -.infinity
        #expect(statistics.maximum(row, piece) == top)
        #expect(statistics.place(row, piece) == Int32(line.firstIndex(of: top) ?? 0))
        guard !line.contains(where: \.isNaN) else { continue }
        let expected = Double(top) + log(line.reduce(0) { $0 + exp(Double($1) - Double(top)) })
        #expect(abs(Double(statistics.logSum(row, piece)) - expected) <= 2e-6 * max(1, abs(expected)))
        #expect(alone.logSum(row, piece) == statistics.logSum(row, piece))
      }
    }
  }

  @Test(arguments: testedSets)
  func `Masked and infinite logits give finite or infinite sums, never NaN`(_ set: KernelSet) throws {
    let lines: [[Float]] = [
      [Float](repeating: -.infinity, count: 33), [-.infinity, 3] + [Float](repeating: -.infinity, count: 31),
      [.infinity] + [Float](repeating: 0, count: 32),
    ]
    let logits = Rows(lines.flatMap { $0 }, .float32, rows: 3, columns: 33)
    let statistics = try measured(logits, [RowRequest](repeating: RowRequest(.sums), count: 3), set)
    #expect((0..<3).map { statistics.place($0, 0) } == [0, 1, 0])
    #expect((0..<3).map { statistics.maximum($0, 0) } == [-.infinity, 3, .infinity])
    #expect((0..<3).map { statistics.logSum($0, 0) } == [-.infinity, 3, .infinity])
  }

  @Test(arguments: testedSets)
  func `Rows are scaled and measured as their requests say`(_ set: KernelSet) throws {
    var random = Random(29)
    let values = random.floats(4 * 1100)
    let logits = Rows(values, .float32, rows: 4, columns: 1100)
    let requests = [
      RowRequest(factor: 0.5, .maxima), RowRequest(.sums), RowRequest(factor: 1.25, .sums),
      RowRequest(factor: 2, .nothing),
    ]
    let statistics = try measured(logits, requests, set, threads: 2)
    for row in 0..<4 {
      let factor = requests[row].wanted == .nothing ? 1 : requests[row].factor
      let expected = values[row * 1100..<(row + 1) * 1100].map { $0 * factor }
      #expect(logits.row(row) == expected)
      #expect(requests[row].wanted == .nothing || statistics.maximum(row, 1) == expected[1024...].max())
      #expect(statistics.logSum(row, 0).isNaN == (requests[row].wanted != .sums))
    }
    #expect(statistics.maximum(3, 0).isNaN)
  }

  /// The fused form against the two passes, at counts that do and do not fill whole pieces, panels and row chunks.
  @Test(arguments: testedSets, [1, 5, 70])
  func `The head's statistics are those of its logits, bit for bit`(_ set: KernelSet, _ rows: Int) throws {
    var random = Random(31)
    for (type, columns) in [(ElementType.bfloat16, 2500), (.float16, 1024), (.float32, 1030)] {
      let inputs = 48
      let device = try device(set)
      let weight = try device.packRandom(
        rows: [columns], columns: inputs, seed: 3, scale: 0.5, type: type, withBias: true)
      let x = Rows(random.floats(rows * inputs), type, rows: rows, columns: inputs)
      let requests = (0..<rows).map { row in
        row % 3 == 0 ? RowRequest(.maxima) : RowRequest(factor: row % 3 == 1 ? 0.7 : 1, .sums)
      }
      let plain = Rows(.float32, rows, columns)
      device.linear(x.tensor, weight, into: plain.tensor)
      let expected = try measured(plain, requests, set)
      for keeps in [true, false] {
        let logits = Rows(.float32, rows, columns, stride: columns + 3)
        let statistics = Statistics(rows: rows, columns: columns)
        requests.withUnsafeBufferPointer {
          guard let first = $0.baseAddress else { return }
          device.head(
            x.tensor, weight, into: logits.tensor, keepsLogits: keeps, requests: first, statistics: statistics.table)
        }
        for row in 0..<rows {
          for piece in 0..<StatisticsTable.pieces(columns) {
            #expect(statistics.place(row, piece) == expected.place(row, piece))
            #expect(statistics.maximum(row, piece).bitPattern == expected.maximum(row, piece).bitPattern)
            #expect(statistics.logSum(row, piece).bitPattern == expected.logSum(row, piece).bitPattern)
          }
          if keeps { #expect(logits.rowBits(row) == plain.rowBits(row)) }
        }
      }
    }
  }
}
