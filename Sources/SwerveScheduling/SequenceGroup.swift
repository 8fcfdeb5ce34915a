import SwerveCore

/// A request under way: what its choices share.
struct SequenceGroup {
  let request: RequestID
  let prompt: [TokenID]
  let sampling: SamplingState
  let key: SchedulingKey
  let choices: Int32
  let skipPrefixCacheRead: Bool
  let wantsPromptLogprobs: Bool
  /// What separates its prefixes from others'.
  let salt: [UInt8]
  /// Start of the chain of block hashes.
  let saltHash: BlockHash
  var maxNewTokens: Int32
  let minNewTokens: Int32
  /// Whether its choices hold blocks together: there are several, and none is larger than the device.
  var sharesBlocks = false
  /// Choices below this one were admitted at least once.
  var nextChoice: Int32 = 0
  /// Choices that have not finished, started or not.
  var unfinished: Int32
  /// Choices that hold a slot.
  var running: Int32 = 0
  /// Prompt tokens that the first choice found in the prefix cache.
  var cachedTokens: Int32 = 0
  /// The bank of its blocks, while any choice runs: of all of them, or of the first stretch.
  var bank: Int32 = 0
  /// Blocks of a stretch, where its sequences may be larger than a bank: each stretch of a table lies in another one.
  var stretch = Int32.max
  /// Banks of the stretches behind the first, as far as they are decided.
  var further: [Int32] = []
  /// The hypotheses, where the request is a beam search; it is one choice of one or more sequences.
  var beams: BeamGroup?
}

/// The requests under way, by index and by id. Warm: touched when a request comes, enters a slot or goes.
struct SequenceGroups {
  private var groups: [SequenceGroup?] = []
  private var unused: [Int32] = []
  private var indices: [RequestID: Int32] = [:]

  var count: Int { indices.count }

  func index(of request: RequestID) -> Int32? { indices[request] }

  /// The group at an index that `insert` returned and `remove` did not take back.
  subscript(index: Int32) -> SequenceGroup {
    get {
      guard let group = groups[Int(index)] else { preconditionFailure("sequence group \(index) is gone") }
      return group
    }
    _modify {
      precondition(groups[Int(index)] != nil, "sequence group \(index) is gone")
      yield &groups[Int(index)]!
    }
  }

  /// The group at any number; nil where there is none.
  func group(at index: Int32) -> SequenceGroup? { groups.indices.contains(Int(index)) ? groups[Int(index)] : nil }

  var all: some Sequence<(index: Int32, group: SequenceGroup)> {
    groups.indices.lazy.compactMap { index in self.groups[index].map { (Int32(index), $0) } }
  }

  /// Changes each group.
  mutating func forEach(_ change: (inout SequenceGroup) -> Void) {
    for index in groups.indices where groups[index] != nil { change(&groups[index]!) }
  }

  mutating func insert(_ group: SequenceGroup) -> Int32 {
    let index: Int32
    if let reused = unused.popLast() {
      index = reused
      groups[Int(index)] = group
    } else {
      index = Int32(groups.count)
      groups.append(group)
    }
    indices[group.request] = index
    return index
  }

  mutating func remove(_ index: Int32) {
    indices[self[index].request] = nil
    groups[Int(index)] = nil
    unused.append(index)
  }
}
