import SwerveCore
import SwerveScheduling

/// One request of a trace.
package struct SimulatedRequest: Sendable, Hashable {
  /// Nanoseconds since the start of the trace.
  package var arrival: UInt64
  /// ≥ 1
  package var promptTokens: Int32
  /// ≥ 1; the request generates exactly that many.
  package var outputTokens: Int32
  /// Leading prompt tokens that all requests of the same `prefix` share.
  package var prefixTokens: Int32 = 0
  package var prefix: Int32 = 0
  package var priority: Int32 = 0
  /// Index of its service class.
  package var serviceClass: Int32 = 0
  package var tenant: UInt64 = 0

  package init(arrival: UInt64, promptTokens: Int32, outputTokens: Int32) {
    self.arrival = arrival
    self.promptTokens = promptTokens
    self.outputTokens = outputTokens
  }

  /// The request as the scheduler takes it. Its tokens are nobody's language: those of the shared prefix are the same for
  /// everyone who shares it, the others its own.
  func waiting(id: UInt64) -> WaitingRequest {
    let shared = Int(min(prefixTokens, promptTokens))
    var tokens: [TokenID] = []
    tokens.reserveCapacity(Int(promptTokens))
    for position in 0..<shared { tokens.append(token(UInt64(bitPattern: Int64(prefix)) &* 2, position)) }
    for position in shared..<Int(promptTokens) { tokens.append(token(id &* 2 &+ 1, position)) }
    var params = SamplingParams()
    params.maxTokens = Int(outputTokens)
    var request = WaitingRequest(
      request: RequestID(rawValue: id), promptTokens: tokens,
      sampling: SamplingState(params: params, seed: 0, badWordTokens: [], terminators: []), priority: Int(priority),
      arrival: arrival)
    request.tenant = tenant
    request.serviceClass = serviceClass
    return request
  }

  private func token(_ text: UInt64, _ position: Int) -> TokenID {
    let mixed = (text &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(position)) &* 0xBF58_476D_1CE4_E5B9
    return TokenID(Int(mixed >> 40))
  }
}
