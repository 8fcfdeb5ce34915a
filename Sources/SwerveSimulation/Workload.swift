package import SwerveCore
import SwerveScheduling

/// Streams of made-up requests: each has its own rate, pattern and lengths. The same seed gives the same requests.
package struct Workload: Sendable, Hashable {
  package enum Arrivals: String, Sendable, CaseIterable {
    /// Independent of each other, at the rate on average.
    case poisson
    /// `burst` at once, the bursts at the rate on average.
    case bursts
    /// Evenly spaced.
    case uniform
  }

  package struct Stream: Sendable, Hashable {
    package var serviceClass = "default"
    package var tenant = ""
    package var priority = 0
    /// Requests a second, > 0.
    package var rate = 1.0
    package var arrivals = Arrivals.poisson
    package var burst = 10
    /// Lengths are drawn evenly from these.
    package var promptTokens = 128...128
    package var outputTokens = 64...64
    package var prefixTokens = 0
    /// Seconds from the start of the trace.
    package var start = 0.0
    package var seconds = Double.infinity

    package init() {}
  }

  package var streams: [Stream]
  /// Seconds of arrivals.
  package var seconds: Double
  /// Most requests, over all streams.
  package var count: Int
  package var seed: UInt64

  package init(streams: [Stream], seconds: Double = .infinity, count: Int = 1_000_000, seed: UInt64 = 0) {
    self.streams = streams
    self.seconds = seconds
    self.count = count
    self.seed = seed
  }

  /// The requests in order of arrival. Throws a sentence where a stream names a class that does not exist.
  package func requests(_ classes: ServiceClasses) throws(TraceError) -> [SimulatedRequest] {
    var all: [SimulatedRequest] = []
    for (index, stream) in streams.enumerated() {
      guard let serviceClass = classes.index(named: stream.serviceClass) else {
        throw TraceError("stream \(index): there is no service class \(stream.serviceClass)")
      }
      append(stream, index, Int32(serviceClass), to: &all)
    }
    all.sort { $0.arrival < $1.arrival }
    return Array(all.prefix(count))
  }

  private func append(_ stream: Stream, _ index: Int, _ serviceClass: Int32, to all: inout [SimulatedRequest]) {
    var generator = Generator(state: seed &* 0x2545_F491_4F6C_DD1D &+ UInt64(index))
    let tenant = WaitingRequest.number(ofTenant: stream.tenant)
    let end = min(seconds, stream.start + stream.seconds)
    let group = stream.arrivals == .bursts ? max(stream.burst, 1) : 1
    let mean = Double(group) / stream.rate
    var time = stream.start
    var made = 0
    while true {
      time += stream.arrivals == .uniform ? mean : generator.exponential(mean: mean)
      if time >= end || made >= count { return }
      for _ in 0..<min(group, count - made) {
        var request = SimulatedRequest(
          arrival: UInt64(min(time * 1e9, 9e18)), promptTokens: Int32(generator.draw(stream.promptTokens)),
          outputTokens: Int32(generator.draw(stream.outputTokens)))
        request.prefixTokens = Int32(stream.prefixTokens)
        request.prefix = Int32(index)
        request.priority = Int32(stream.priority)
        request.serviceClass = serviceClass
        request.tenant = tenant
        all.append(request)
        made += 1
      }
    }
  }

  /// SplitMix64 (Steele, Lea, Flood 2014), so that a seed names a workload.
  private struct Generator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      return z ^ z >> 31
    }

    mutating func draw(_ range: ClosedRange<Int>) -> Int {
      range.lowerBound + Int(next() % UInt64(range.count))
    }

    /// By inversion of a uniform number in (0, 1].
    mutating func exponential(mean: Double) -> Double {
      -mean * naturalLogarithm((Double(next() >> 11) + 1) / Double(1 << 53))
    }
  }
}
