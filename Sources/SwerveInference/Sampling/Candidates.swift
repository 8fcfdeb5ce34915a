import SwerveCore
import SwerveHardware

/// One row of logits, [vocabulary].
typealias LogitsRow = UnsafeMutableBufferPointer<Float>

/// The largest logits of a row in an exact order, without sorting the vocabulary.
///
/// A candidate is one 64-bit key: the logit's bits in an order-preserving form above, the complement of the token below.
/// Larger keys are larger logits and, among equals, lower tokens; so sorting integers gives the order that every rule of
/// the sampler asks for, and a result never depends on how it was found. Not-a-number and −∞ are never candidates.
///
/// Memory belongs to one worker: keys for a whole vocabulary (pages that are never needed are never touched) and a
/// histogram over the keys' first 13 bits (sign, exponent, four bits of mantissa).
struct Candidates {
  /// [vocabulary]; the first `count` are filled.
  private let keys: UnsafeMutableBufferPointer<UInt64>
  /// [8192]
  private let histogram: UnsafeMutableBufferPointer<UInt32>
  private(set) var count = 0

  private static let binShift: UInt32 = 19
  static let binCount = 1 << (32 - 19)
  /// Bytes of memory one worker needs.
  static func byteCount(vocabularySize: Int) -> Int { vocabularySize * 8 + binCount * 4 }

  /// - Parameter memory: `byteCount` bytes, aligned to 8.
  init(memory: UnsafeMutableRawPointer, vocabularySize: Int) {
    keys = UnsafeMutableBufferPointer(
      start: memory.bindMemory(to: UInt64.self, capacity: vocabularySize), count: vocabularySize)
    histogram = UnsafeMutableBufferPointer(
      start: (memory + vocabularySize * 8).bindMemory(to: UInt32.self, capacity: Self.binCount), count: Self.binCount)
  }

  subscript(place: Int) -> (token: Int, logit: Float) { (Self.token(of: keys[place]), Self.logit(of: keys[place])) }

  // MARK: Keys

  static func key(_ logit: Float, token: Int) -> UInt64 {
    UInt64(ordered(logit)) << 32 | UInt64(~UInt32(truncatingIfNeeded: token))
  }

  static func token(of key: UInt64) -> Int { Int(~UInt32(truncatingIfNeeded: key)) }

  static func logit(of key: UInt64) -> Float {
    let bits = UInt32(truncatingIfNeeded: key >> 32)
    return Float(bitPattern: bits & 0x8000_0000 != 0 ? bits & 0x7FFF_FFFF : ~bits)
  }

  /// Bits that compare as the numbers do; 0 for not-a-number. Adding zero makes the two zeros one.
  private static func ordered(_ value: Float) -> UInt32 {
    if value.isNaN { return 0 }
    let bits = (value + 0).bitPattern
    return bits & 0x8000_0000 != 0 ? ~bits : bits | 0x8000_0000
  }

  // MARK: Finding

  /// Takes every token whose logit is at least `floor` and more than −∞, in token order.
  private mutating func gather(_ row: RowScan, floor: Float) {
    guard let start = keys.baseAddress else { return }
    count = row.keys(from: floor, into: start)
  }

  /// Takes the `wanted` largest logits that are at least `floor` (fewer where there are not so many), sorted from the
  /// largest.
  ///
  /// Where as many pieces of the row as `wanted` reach a value, as many tokens do: so the pieces' maxima bound the search
  /// and one pass over the row finds little more than is wanted. Beyond the number of pieces a histogram does it in two.
  mutating func selectLargest(
    _ row: RowScan, statistics: RowStatistics, wanted: Int, floor: Float = -.infinity
  ) {
    if wanted <= statistics.maxima.count, wanted > 0 {
      count = statistics.maxima.count
      for piece in 0..<count { keys[piece] = Self.key(statistics.maxima[piece], token: piece) }
      sortDescending(first: wanted)
      gather(row, floor: max(floor, Self.logit(of: keys[wanted - 1])))
    } else if wanted * 4 >= row.logits.count {
      gather(row, floor: floor)
    } else {
      gather(row, floor: max(floor, histogramBound(row.logits, wanted: wanted, floor: floor)))
    }
    sortDescending(first: wanted)
    count = min(count, max(wanted, 0))
  }

  /// A value that at least `wanted` logits reach (or all that are at least `floor`), and few more.
  private func histogramBound(_ logits: LogitsRow, wanted: Int, floor: Float) -> Float {
    let least = max(floor, -Float.greatestFiniteMagnitude)
    histogram.update(repeating: 0)
    for token in logits.indices where logits[token] >= least {
      histogram[Int(Self.ordered(logits[token]) >> Self.binShift)] += 1
    }
    var bin = Self.binCount
    var found = 0
    while bin > 0, found < wanted {
      bin -= 1
      found += Int(histogram[bin])
    }
    return bin == 0 ? least : Self.logit(of: UInt64(UInt32(bin) << Self.binShift) << 32)
  }

  /// Moves the fewest largest candidates whose masses exp(logit − maximum) sum to `needed` to the front, in an order that
  /// depends on the candidates alone; answers how many they are, nil where all together fall short. Cost: linear.
  func selectMass(_ needed: Double, maximum: Float) -> Int? {
    var begin = 0
    var end = count
    var left = needed
    var rounds = 0
    while end - begin > 24 {
      if rounds == 96 {
        Self.heapSort(UnsafeMutableBufferPointer(rebasing: keys[begin..<end]))
        break
      }
      rounds += 1
      let middle = Self.partition(keys, begin, end)
      let mass = self.mass(begin..<middle, maximum: maximum)
      if mass >= left {
        end = middle
      } else {
        left -= mass
        begin = middle
      }
    }
    if end - begin <= 24 { Self.sort(keys, begin, end, first: end, depth: 8) }
    for place in begin..<end {
      left -= mass(place..<place + 1, maximum: maximum)
      if left <= 0 { return place + 1 }
    }
    // The same numbers summed in another order may miss by a rounding what their part was found to have.
    return end < count ? end : nil
  }

  /// Σ exp(logit − maximum) over some candidates.
  func mass(_ range: Range<Int>, maximum: Float) -> Double {
    var sum = 0.0
    for place in range { sum += exponential(Double(Self.logit(of: keys[place])) - Double(maximum)) }
    return sum
  }

  /// Takes exactly these tokens (each inside the row), sorted from the largest.
  mutating func take(_ tokens: [TokenID], from logits: LogitsRow) {
    count = min(tokens.count, keys.count)
    for place in 0..<count {
      let token = Int(tokens[place].rawValue)
      keys[place] = Self.key(logits[token], token: token)
    }
    sortDescending(first: count)
  }

  /// Writes the rank in the whole row (1 = most likely) of each of the sorted candidates. One pass over the row for each:
  /// lists of ids are short, and pieces without larger logits are not read.
  func fillRanks(_ row: RowScan, write: (_ place: Int, _ rank: Int32) -> Void) {
    for place in 0..<count { write(place, Int32(row.count(before: row.bound(of: self[place].token)) + 1)) }
  }

  // MARK: Sorting

  /// Sorts so that the first `wanted` keys are the largest in descending order. In place, without allocation (which the
  /// standard library's sort does not promise): quicksort that leaves parts beyond `wanted` alone, and heapsort where
  /// the partitions turn out badly.
  func sortDescending(first wanted: Int) {
    var depth = 0
    while 1 << depth < count { depth += 2 }
    Self.sort(keys, 0, count, first: wanted, depth: depth)
  }

  private static func sort(
    _ keys: UnsafeMutableBufferPointer<UInt64>, _ begin: Int, _ end: Int, first wanted: Int, depth: Int
  ) {
    var begin = begin
    var end = end
    var depth = depth
    while end - begin > 24 {
      if begin >= wanted { return }
      if depth == 0 { return heapSort(UnsafeMutableBufferPointer(rebasing: keys[begin..<end])) }
      depth -= 1
      let middle = partition(keys, begin, end)
      // The shorter part by recursion, the longer one by the loop: the stack stays logarithmic.
      if middle - begin < end - middle {
        sort(keys, begin, middle, first: wanted, depth: depth)
        begin = middle
      } else {
        sort(keys, middle, end, first: wanted, depth: depth)
        end = middle
      }
    }
    var place = begin + 1
    while place < end {
      let key = keys[place]
      var hole = place
      while hole > begin, keys[hole - 1] < key {
        keys[hole] = keys[hole - 1]
        hole -= 1
      }
      keys[hole] = key
      place += 1
    }
  }

  /// Hoare's partition around the median of three: keys before the answer are ≥ those from it on; both parts non-empty.
  private static func partition(_ keys: UnsafeMutableBufferPointer<UInt64>, _ begin: Int, _ end: Int) -> Int {
    let a = keys[begin]
    let b = keys[begin + (end - begin) / 2]
    let c = keys[end - 1]
    let pivot = max(min(a, b), min(max(a, b), c))
    var low = begin
    var high = end - 1
    while true {
      while keys[low] > pivot { low += 1 }
      while keys[high] < pivot { high -= 1 }
      if low >= high { return low == begin ? begin + 1 : low }
      keys.swapAt(low, high)
      low += 1
      high -= 1
    }
  }

  /// Descending, by a heap with the smallest key on top.
  private static func heapSort(_ keys: UnsafeMutableBufferPointer<UInt64>) {
    func sink(_ root: Int, _ count: Int) {
      var root = root
      while 2 * root + 1 < count {
        var child = 2 * root + 1
        if child + 1 < count, keys[child + 1] < keys[child] { child += 1 }
        if keys[root] <= keys[child] { return }
        keys.swapAt(root, child)
        root = child
      }
    }
    for root in stride(from: keys.count / 2 - 1, through: 0, by: -1) { sink(root, keys.count) }
    for last in stride(from: keys.count - 1, to: 0, by: -1) {
      keys.swapAt(0, last)
      sink(0, last)
    }
  }
}
