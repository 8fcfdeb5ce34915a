/// Upper bounds of the histograms. Dashboards and alert rules name these numbers.
enum MetricBounds {
  static let firstToken: [Double] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
  ]
  static let interToken: [Double] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  ]
  static let request: [Double] = [
    0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
  ]
  static let iteration: [Double] = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]
  static let n: [Double] = [1, 2, 5, 10, 20]
  static let preemptions: [Double] = [1, 2, 3, 4, 5, 10, 20]
  static let seconds: [Double] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
  ]
  static let bytes: [Double] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]

  /// 1, 2, 5, 10, 20, 50 … up to the longest request.
  static func tokens(upTo most: Int) -> [Double] {
    var bounds: [Double] = []
    var power = 1.0
    while power <= Double(most) {
      for factor in [1.0, 2, 5] where factor * power <= Double(most) { bounds.append(factor * power) }
      power *= 10
    }
    return bounds
  }
}
