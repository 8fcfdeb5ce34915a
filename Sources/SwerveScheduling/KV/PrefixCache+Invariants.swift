package import SwerveCore

extension PrefixCache {
  /// The first cached block that cannot be found, or whose parent is not cached, or nil. O(blocks × blockSize)
  package func violation() -> String? {
    var indexed = 0
    var full = 0
    var first = 0
    var followers = [Int32](repeating: 0, count: blockCount)
    for index in 0..<blockCount where contains(BlockID(index)) {
      guard let parent = parent(of: BlockID(index)) else {
        first += 1
        continue
      }
      followers[Int(parent.rawValue)] += 1
      if !contains(parent) { return "cached block \(index) follows block \(parent.rawValue), which is not cached" }
      if length(Int(parent.rawValue)) != blockSize {
        return "cached block \(index) follows block \(parent.rawValue), which is not full"
      }
    }
    // Now every chain has a beginning.
    for index in 0..<blockCount where contains(BlockID(index)) {
      indexed += 1
      let block = BlockID(index)
      let length = length(index)
      if !(1...blockSize).contains(length) { return "cached block \(index) holds \(length) tokens" }
      if length == blockSize {
        full += 1
        // Only a first block's is looked at, which costs nothing to have.
        let parent = parent(of: block)
        let before = parent == nil ? parentHash(of: block) : BlockHash(low: 0, high: 0)
        let found = find(parent: parent, parentHash: before, tokens: content(index, blockSize).span)
        if found != block { return "cached block \(index) is not found by its content" }
      }
      var start = starts.first(parents[index], tokens.token(index, 0))
      while start != StartIndex.none && start != block.rawValue { start = starts.after(start) }
      if start == StartIndex.none { return "cached block \(index) is not found by its beginning" }
    }
    if !children.isEmpty,
      let block = followers.indices.first(where: { contains(BlockID($0)) && followers[$0] != children[$0] })
    {
      return "cached block \(block) has \(followers[block]) cached followers, \(children[block]) counted"
    }
    if indexed != count || blocks.counted != full || blocks.count != full || chains.total != first {
      return
        "prefix cache: \(indexed) blocks marked, \(blocks.counted) of \(full) in the index, \(chains.total) of \(first) "
        + "begin chains, \(count) counted"
    }
    return nil
  }
}
