#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// When each request of a benchmark is sent.
package struct ArrivalSchedule: Sendable {
  package enum RampUp: String, Sendable { case linear, exponential }

  /// Requests a second; infinite = all at once.
  package var rate = Double.infinity
  /// Shape of the gamma distribution of the gaps: 1 = a Poisson process, less = bursts, more = even.
  package var burstiness = 1.0
  /// The rate grows from the first to the second number over the requests.
  package var rampUp: (RampUp, from: Double, to: Double)?

  package init() {}

  /// Seconds after the start, one a request, ascending. Where the rate is constant they are scaled so that the last
  /// request leaves exactly at count ÷ rate: the asked rate is then the rate of this sample, not only of its mean.
  package func times(count: Int, seed: Int) -> [Double] {
    if rampUp == nil, !rate.isFinite { return [Double](repeating: 0, count: count) }
    var generator = SeededGenerator(seed: seed)
    var times: [Double] = []
    var now = 0.0
    for place in 0..<count {
      let rate = currentRate(place, of: count)
      now += rate.isFinite ? generator.gamma(shape: burstiness) / rate : 0
      times.append(now)
    }
    guard rampUp == nil, let last = times.last, last > 0 else { return times }
    let factor = Double(count) / rate / last
    return times.map { $0 * factor }
  }

  private func currentRate(_ place: Int, of count: Int) -> Double {
    guard let (kind, from, to) = rampUp else { return rate }
    let progress = count > 1 ? Double(place) / Double(count - 1) : 1
    return switch kind {
    case .linear: from + (to - from) * progress
    case .exponential: from * pow(to / from, progress)
    }
  }
}
