/// What chains of blocks begin with: one number for each salt that a cached first block has, so that blocks need not keep
/// the salt's hash themselves.
struct ChainStarts {
  private var numbers: [BlockHash: Int32] = [:]
  private var hashes: [BlockHash] = []
  /// Cached first blocks of each.
  private var uses: [Int32] = []
  private var free: [Int32] = []

  /// About: a dictionary's entry takes some more than what is in it.
  var byteCount: Int { 48 * numbers.count + 20 * hashes.count }

  /// nil: no cached block begins so.
  func number(of hash: BlockHash) -> Int32? { numbers[hash] }

  func hash(_ number: Int32) -> BlockHash { hashes[Int(number)] }

  /// One more block begins so.
  mutating func retain(_ hash: BlockHash) -> Int32 {
    if let number = numbers[hash] {
      uses[Int(number)] += 1
      return number
    }
    let number = free.popLast() ?? Int32(hashes.count)
    if Int(number) == hashes.count {
      hashes.append(hash)
      uses.append(1)
    } else {
      hashes[Int(number)] = hash
      uses[Int(number)] = 1
    }
    numbers[hash] = number
    return number
  }

  /// One less.
  mutating func release(_ number: Int32) {
    uses[Int(number)] -= 1
    if uses[Int(number)] > 0 { return }
    numbers[hashes[Int(number)]] = nil
    free.append(number)
  }

  /// Blocks that begin a chain, counted.
  var total: Int { uses.reduce(0) { $0 + Int($1) } }
}
