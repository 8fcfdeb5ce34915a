/// A pattern compiled for the matcher: one flat list of instructions.
struct PatternProgram: Sendable {
  enum Instruction: Sendable {
    case scalar(UInt32)
    /// Index into `sets`.
    case set(Int)
    /// Try the first target, then the second.
    case split(Int, Int)
    case jump(Int)
    case anchor(PatternNode.Anchor)
    /// A sub-pattern follows and ends with `match`; go on at `next` if it matches here (or does not, if negative).
    case lookAhead(next: Int, isNegative: Bool)
    /// The same for text that ends here and has `minimum` to `maximum` characters.
    case lookBehind(next: Int, isNegative: Bool, minimum: Int, maximum: Int)
    /// A sub-pattern follows whose first match is final; go on at `next` where it ends.
    case atomic(next: Int)
    case match
  }

  /// A set with its answers for ASCII worked out.
  struct CompiledSet: Sendable {
    var low: UInt64 = 0
    var high: UInt64 = 0
    var set: CharacterSet

    init(_ set: CharacterSet) {
      self.set = set
      for scalar in UInt32(0)..<64 where set.contains(scalar) { low |= 1 << UInt64(scalar) }
      for scalar in UInt32(64)..<128 where set.contains(scalar) { high |= 1 << UInt64(scalar - 64) }
    }

    @inline(__always)
    func contains(_ scalar: UInt32) -> Bool {
      if scalar < 64 { return low >> UInt64(scalar) & 1 != 0 }
      if scalar < 128 { return high >> UInt64(scalar - 64) & 1 != 0 }
      return set.contains(scalar)
    }
  }

  private(set) var instructions: [Instruction] = []
  private(set) var sets: [CompiledSet] = []
  /// Which first bytes a match can begin with; empty where a match may be empty.
  private(set) var firstBytes: [Bool] = []

  private static let maximumInstructions = 20_000

  init(_ node: PatternNode) throws(PatternError) {
    try emit(node)
    instructions.append(.match)
    firstBytes = computeFirstBytes()
  }

  private mutating func append(_ instruction: Instruction) throws(PatternError) {
    guard instructions.count < Self.maximumInstructions else {
      throw PatternError(reason: "repetitions that unfold to more than \(Self.maximumInstructions) steps", offset: 0)
    }
    instructions.append(instruction)
  }

  private mutating func emit(_ node: PatternNode) throws(PatternError) {
    switch node {
    case .empty: return
    case .scalar(let scalar): try append(.scalar(scalar))
    case .set(let set):
      sets.append(CompiledSet(set))
      try append(.set(sets.count - 1))
    case .sequence(let nodes): for node in nodes { try emit(node) }
    case .choice(let nodes): try emitChoice(nodes)
    case .anchor(let anchor): try append(.anchor(anchor))
    case .atomic(let node):
      let start = instructions.count
      try append(.atomic(next: 0))
      try emit(node)
      try append(.match)
      instructions[start] = .atomic(next: instructions.count)
    case .look(let node, let isAhead, let isNegative):
      let start = instructions.count
      try append(.match)
      try emit(node)
      try append(.match)
      let width = node.width
      instructions[start] =
        isAhead
        ? .lookAhead(next: instructions.count, isNegative: isNegative)
        : .lookBehind(
          next: instructions.count, isNegative: isNegative, minimum: width.minimum, maximum: width.maximum ?? 255)
    case .repeated(let node, let minimum, let maximum, let kind):
      if kind == .possessive {
        try emit(.atomic(.repeated(node, minimum: minimum, maximum: maximum, kind: .greedy)))
      } else {
        try emitRepeated(node, minimum: minimum, maximum: maximum, isGreedy: kind == .greedy)
      }
    }
  }

  private mutating func emitChoice(_ nodes: [PatternNode]) throws(PatternError) {
    var exits: [Int] = []
    for (number, node) in nodes.enumerated() {
      guard number < nodes.count - 1 else {
        try emit(node)
        break
      }
      let fork = instructions.count
      try append(.split(0, 0))
      try emit(node)
      exits.append(instructions.count)
      try append(.jump(0))
      instructions[fork] = .split(fork + 1, instructions.count)
    }
    for exit in exits { instructions[exit] = .jump(instructions.count) }
  }

  private mutating func emitRepeated(
    _ node: PatternNode, minimum: Int, maximum: Int?, isGreedy: Bool
  ) throws(PatternError) {
    for _ in 0..<minimum { try emit(node) }
    guard let maximum else {
      let fork = instructions.count
      try append(.split(0, 0))
      try emit(node)
      try append(.jump(fork))
      let (body, after) = (fork + 1, instructions.count)
      instructions[fork] = isGreedy ? .split(body, after) : .split(after, body)
      return
    }
    var forks: [Int] = []
    for _ in 0..<max(0, maximum - minimum) {
      forks.append(instructions.count)
      try append(.split(0, 0))
      try emit(node)
    }
    for fork in forks {
      let (body, after) = (fork + 1, instructions.count)
      instructions[fork] = isGreedy ? .split(body, after) : .split(after, body)
    }
  }

  private func computeFirstBytes() -> [Bool] {
    var allowed = [Bool](repeating: false, count: 256)
    var seen = Set<Int>()
    var open = [0]
    while let place = open.popLast() {
      guard seen.insert(place).inserted else { continue }
      switch instructions[place] {
      case .scalar(let scalar):
        var encoded: [UInt8] = []
        encoded.append(scalar: scalar)
        allowed[Int(encoded[0])] = true
      case .set(let number):
        for byte in 0..<128 where sets[number].contains(UInt32(byte)) { allowed[byte] = true }
        // A class of characters beyond ASCII may hold any of them.
        for byte in 128..<256 { allowed[byte] = true }
      case .split(let a, let b): open += [a, b]
      case .jump(let a): open.append(a)
      case .anchor: open.append(place + 1)
      case .lookAhead(let next, _), .lookBehind(let next, _, _, _): open.append(next)
      case .atomic(let next):
        // What follows matters only where the group can be empty: its `match` is then reached and ends the search.
        _ = next
        open.append(place + 1)
      case .match: return []
      }
    }
    return allowed
  }
}
