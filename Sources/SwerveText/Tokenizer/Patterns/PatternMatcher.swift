/// Runs a `PatternProgram` over one text by backtracking with an explicit stack.
///
/// Without references, coming to the same instruction at the same place a second time can only fail again. A run that
/// has taken many steps therefore begins to remember where it has been, which bounds it to instructions × length: no
/// pattern takes exponential time, and depth costs heap, not stack.
struct PatternMatcher {
  private let program: PatternProgram
  private let text: Bytes
  private var stack: [(place: Int, position: Int)] = []
  /// States that failed in earlier searches of this text.
  private var failed = Set<UInt64>()
  /// Where groups that run on their own (look-ahead, atomic) ended, by instruction and place; -1 where they failed.
  private var groupEnds: [UInt64: Int] = [:]
  private var steps = 0

  /// Steps that a search from one position may take before visited states are remembered.
  private static let freeSteps = 4096
  private static let maximumRemembered = 1 << 22

  init(program: PatternProgram, text: Bytes) {
    self.program = program
    self.text = text
  }

  /// The next match that begins at `start` or later, as byte offsets.
  mutating func firstMatch(from start: Int) -> Range<Int>? {
    var position = start
    let first = program.firstBytes
    while position <= text.count {
      if !first.isEmpty {
        while position < text.count, !first[Int(text[position])] { position += 1 }
        if position == text.count { return nil }
      }
      steps = 0
      // States seen in a search that failed fail for every later search too; a search that succeeded forgets them.
      var visited = Set<UInt64>()
      swap(&visited, &failed)
      if let end = run(from: 0, at: position, visited: &visited) { return position..<end }
      swap(&visited, &failed)
      guard position < text.count else { return nil }
      position += text.scalar(at: position).length
    }
    return nil
  }

  /// Where the sub-program at `start` ends when it begins at `origin`, or nil. `mustEnd` is for look-behind.
  private mutating func run(
    from start: Int, at origin: Int, mustEnd: Int? = nil, visited: inout Set<UInt64>
  ) -> Int? {
    let base = stack.count
    defer { stack.removeSubrange(base...) }
    stack.append((start, origin))
    while stack.count > base, let state = stack.popLast() {
      var place = state.place
      var position = state.position
      while true {
        steps &+= 1
        switch program.instructions[place] {
        case .scalar(let wanted):
          guard position < text.count else { break }
          let scalar = text.scalar(at: position)
          guard scalar.value == wanted else { break }
          position += scalar.length
          place += 1
          continue
        case .set(let number):
          guard position < text.count else { break }
          let scalar = text.scalar(at: position)
          guard program.sets[number].contains(scalar.value) else { break }
          position += scalar.length
          place += 1
          continue
        case .split(let preferred, let other):
          if steps > Self.freeSteps, !Self.visit(place, position, &visited) { break }
          stack.append((other, position))
          place = preferred
          continue
        case .jump(let target):
          place = target
          continue
        case .anchor(let anchor):
          guard holds(anchor, at: position) else { break }
          place += 1
          continue
        case .lookAhead(let next, let isNegative):
          guard (runGroup(place + 1, at: position) != nil) != isNegative else { break }
          place = next
          continue
        case .lookBehind(let next, let isNegative, let minimum, let maximum):
          guard looksBack(place + 1, at: position, minimum, maximum) != isNegative else { break }
          place = next
          continue
        case .atomic(let next):
          guard let end = runGroup(place + 1, at: position) else { break }
          position = end
          place = next
          continue
        case .match:
          if let mustEnd, position != mustEnd { break }
          return position
        }
        break
      }
    }
    return nil
  }

  private mutating func runGroup(_ start: Int, at position: Int) -> Int? {
    let key = Self.key(start, position)
    if steps > Self.freeSteps, let known = groupEnds[key] { return known < 0 ? nil : known }
    var visited = Set<UInt64>()
    let end = run(from: start, at: position, visited: &visited)
    if steps > Self.freeSteps {
      if groupEnds.count >= Self.maximumRemembered { groupEnds.removeAll(keepingCapacity: true) }
      groupEnds[key] = end ?? -1
    }
    return end
  }

  /// Whether this state was not met before in a search that has become long.
  private static func visit(_ place: Int, _ position: Int, _ visited: inout Set<UInt64>) -> Bool {
    if visited.count >= maximumRemembered { visited.removeAll(keepingCapacity: true) }
    return visited.insert(key(place, position)).inserted
  }

  private static func key(_ place: Int, _ position: Int) -> UInt64 { UInt64(place) << 40 | UInt64(position) }

  private mutating func looksBack(_ start: Int, at position: Int, _ minimum: Int, _ maximum: Int) -> Bool {
    var origin = position
    for width in 0...max(minimum, maximum) {
      var visited = Set<UInt64>()
      if width >= minimum, run(from: start, at: origin, mustEnd: position, visited: &visited) != nil { return true }
      guard origin > 0 else { return false }
      origin = text.scalarStart(before: origin)
    }
    return false
  }

  private func holds(_ anchor: PatternNode.Anchor, at position: Int) -> Bool {
    switch anchor {
    case .textStart: position == 0
    case .textEnd: position == text.count
    case .textEndOrNewline: position == text.count || (position == text.count - 1 && text[position] == 10)
    case .lineStart: position == 0 || (text[position - 1] == 10 && position < text.count)
    case .lineEnd: position == text.count || text[position] == 10
    case .wordBoundary: isWordBoundary(position)
    case .notWordBoundary: !isWordBoundary(position)
    }
  }

  private func isWordBoundary(_ position: Int) -> Bool {
    let before = position > 0 && CharacterProperties(text.scalar(before: position)).has(.word)
    let after = position < text.count && CharacterProperties(text.scalar(at: position).value).has(.word)
    return before != after
  }
}
