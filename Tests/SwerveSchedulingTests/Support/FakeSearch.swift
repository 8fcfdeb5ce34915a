import SwerveCore
import SwerveScheduling

/// A beam search that chooses as it likes: which hypotheses go on, with how many children, is drawn. It knows the tokens of
/// each, so it knows what the runner must come to, and compares in every step.
struct FakeSearch {
  let request: UInt64
  let prompt: [TokenID]
  let salt: [UInt8]
  let width: Int
  let maxTokens: Int
  var beams: [[TokenID]] = [[]]
  var steps = 0
  var generator: SeededGenerator

  /// What the runner's state after prompt and output must be.
  static func state(_ tokens: [TokenID], salt: [UInt8]) -> UInt64 {
    var state = FakeModel.start(salt: salt)
    for (position, token) in tokens.enumerated() {
      state = FakeModel.mix(state, FakeModel.cell(state, token, position))
    }
    return state
  }

  /// One token further; nil when the search is over.
  mutating func advance(_ states: [UInt64]) throws -> [BeamStep]? {
    guard states.count == beams.count else {
      throw RunnerFault(description: "search \(request): \(states.count) of \(beams.count) beams were sampled")
    }
    for (place, beam) in beams.enumerated() where states[place] != Self.state(prompt + beam, salt: salt) {
      throw RunnerFault(description: "search \(request): beam \(place) was computed from others' keys and values")
    }
    steps += 1
    if steps == maxTokens { return nil }
    let parents = generator.chance(30) ? [Int.random(in: 0..<beams.count, using: &generator)] : Array(beams.indices)
    var next: [BeamStep] = []
    for child in 0..<(generator.chance(70) ? width : Int.random(in: 1...width, using: &generator)) {
      let parent = parents.randomElement(using: &generator) ?? 0
      // Children of one parent differ.
      next.append(BeamStep(parent: parent, token: TokenID((states[parent] &+ UInt64(child)) % FakeModel.vocabulary)))
    }
    beams = next.map { beams[$0.parent] + [$0.token] }
    return next
  }
}

extension Harness {
  /// Queues a beam search; throws what the scheduler refuses.
  func addSearch(
    _ id: UInt64, _ prompt: [TokenID], width: Int, maxTokens: Int?, arrival: UInt64 = 0, salt: [UInt8] = [],
    skip: Bool = false, tenant: UInt64 = 0, serviceClass: Int32 = 0, priority: Int = 0, seed: UInt64 = 1
  ) throws {
    var params = SamplingParams()
    params.maxTokens = maxTokens
    params.useBeamSearch = true
    let request = RequestID(rawValue: id)
    var waiting = WaitingRequest(
      request: request, promptTokens: prompt,
      sampling: SamplingState(params: params, seed: seed, badWordTokens: [], terminators: []), priority: priority,
      arrival: arrival, prefixSalt: salt, skipPrefixCacheRead: skip)
    waiting.beamWidth = width
    waiting.tenant = tenant
    waiting.serviceClass = serviceClass
    try scheduler.add(waiting)
    runner.salts[request] = salt
    searches[id] = FakeSearch(
      request: id, prompt: prompt, salt: salt, width: width, maxTokens: scheduler.maxNewTokens(of: request) ?? 0,
      generator: SeededGenerator(seed: seed))
  }

  /// Takes every search that the applied step sampled one token further, as an engine would.
  func continueSearches() throws {
    var states: [UInt64: [UInt64]] = [:]
    let sampled = Set(result.samples.map(\.sequenceIndex))
    for (index, step) in plan.sequences.enumerated() where sampled.contains(Int32(index)) {
      guard let state = runner.beamStates[step.sequence] else { continue }
      states[step.sequence.request.rawValue, default: []].append(state)
    }
    // In an order that repeats.
    for (id, states) in states.sorted(by: { $0.key < $1.key }) where searches[id] != nil {
      if let next = try searches[id]?.advance(states) {
        scheduler.continueBeams(RequestID(rawValue: id), next)
      } else {
        scheduler.endBeams(RequestID(rawValue: id), tokens: 0)
        searches[id] = nil
        endedSearches.append(id)
      }
    }
  }
}
