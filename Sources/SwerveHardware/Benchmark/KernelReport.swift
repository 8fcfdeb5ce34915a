package import SwerveCore

/// What a kernel benchmark found.
package struct KernelReport: Sendable {
  /// One kernel on one shape.
  package struct Line: Sendable {
    /// What was measured: "linear gate+up", "attention 1024".
    package var name: String
    package var type: ElementType
    /// Of the weights; nil where none are read.
    package var format: WeightFormat?
    package var rows: Int
    /// Of one call.
    package var seconds: Double
    /// Weights or keys and values that one call must read.
    package var bytes: Double
    /// Multiplications and additions of one call.
    package var operations: Double
  }

  package var kernels: KernelSet
  package var threads: Int
  /// Seconds of one empty run of the pool.
  package var barrier: Double
  /// Bytes a second, one stream a thread.
  package var oneStream: Double
  /// Bytes a second, eight streams a thread: what a step at batch 1 can reach.
  package var manyStreams: Double
  /// Operations a second out of the first-level cache.
  package var peaks: [ElementType: Double] = [:]
  /// The same for products of int8.
  package var bytePeak: Double?
  package var lines: [Line] = []

  /// Of `manyStreams`, 0 ... 1.
  package func bandwidthShare(_ line: Line) -> Double { line.bytes / line.seconds / manyStreams }

  /// Of the peak of the arithmetic used, the type's or int8's, 0 ... 1.
  package func peakShare(_ line: Line) -> Double {
    guard let peak = line.format?.roundsRows == true ? bytePeak : peaks[line.type], peak > 0 else { return 0 }
    return line.operations / line.seconds / peak
  }

  /// The report as lines of text.
  package var text: [String] {
    var out = [
      "kernels \(kernels.rawValue), \(threads) threads, \(Decimals.fixed(barrier * 1e6, 2)) us a barrier",
      "read from memory: \(Decimals.fixed(oneStream / 1e9, 1)) GB/s with 1 stream a thread, "
        + "\(Decimals.fixed(manyStreams / 1e9, 1)) GB/s with 8",
    ]
    for type in ElementType.allCases {
      if let peak = peaks[type] {
        out.append("\(type.rawValue) products from cache: \(Decimals.fixed(peak / 1e9, 0)) GFLOP/s")
      }
    }
    if let bytePeak { out.append("int8 products from cache: \(Decimals.fixed(bytePeak / 1e9, 0)) GOP/s") }
    out.append(
      column("kernel", 32) + column("type", 10) + column("weights", 14) + column("rows", 6, right: true)
        + column("us", 11, right: true)
        + column("GB/s", 8, right: true) + column("of read", 9, right: true) + column("GFLOP/s", 9, right: true)
        + column("of peak", 9, right: true))
    out += lines.map(text(of:))
    return out
  }

  /// One line of the table.
  package func text(of line: Line) -> String {
    column(line.name, 32) + column(line.type.rawValue, 10) + column(line.format?.name ?? "-", 14)
      + column("\(line.rows)", 6, right: true)
      + column(Decimals.fixed(line.seconds * 1e6, 1), 11, right: true)
      + column(Decimals.fixed(line.bytes / line.seconds / 1e9, 1), 8, right: true)
      + column(Decimals.fixed(bandwidthShare(line) * 100, 0) + " %", 9, right: true)
      + column(Decimals.fixed(line.operations / line.seconds / 1e9, 0), 9, right: true)
      + column(Decimals.fixed(peakShare(line) * 100, 0) + " %", 9, right: true)
  }

  private func column(_ text: String, _ width: Int, right: Bool = false) -> String {
    let space = String(repeating: " ", count: max(1, width - text.count))
    return right ? space + text : text + space
  }
}
