import SwerveEngine
import Testing

@Suite struct RowCostTests {
  @Test(arguments: [0.01, 0.05, 0.3]) func `the cost of a row is found in what steps take`(cost: Double) {
    var measured = RowCost(prior: 0.05)
    for step in 0..<2_000 {
      let rows = 1 + step * 7 % 12
      let noise = 1 + Double(step * 13 % 11 - 5) / 100
      measured.record(rows: rows, seconds: 0.02 * (1 + cost * Double(rows)) * noise)
    }
    #expect(Double(measured.value) > 0.7 * cost && Double(measured.value) < 1.3 * cost)
  }

  @Test func `steps of one size leave the first guess`() {
    var measured = RowCost(prior: 0.05)
    for step in 0..<1_000 { measured.record(rows: 1, seconds: 0.02 + Double(step % 5) * 0.001) }
    #expect(measured.value > 0.049 && measured.value < 0.051)
  }

  @Test func `interrupted steps and nonsense are left out`() {
    var measured = RowCost(prior: 0.05)
    for step in 0..<500 { measured.record(rows: 1 + step % 8, seconds: 0.02 * (1 + 0.1 * Double(1 + step % 8))) }
    let before = measured.value
    measured.record(rows: 8, seconds: 5)
    measured.record(rows: 0, seconds: 0.02)
    measured.record(rows: 3, seconds: 0)
    #expect(measured.value == before)
    for _ in 0..<500 { measured.record(rows: 64, seconds: 1e-9) }
    #expect(measured.value >= 0.005 && measured.value <= 1)
  }
}
