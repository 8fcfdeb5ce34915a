import Crypto
import Dispatch
import SwerveCore
import Synchronization

/// What an overflow file and its threads share.
final class OverflowCore: Sendable {
  /// Nonce and tag of a piece.
  static let sealBytes = BlockCipher.nonceBytes + BlockCipher.tagBytes

  struct Write {
    let place: Int
    let copy: Int
    let generation: UInt64
  }

  struct Read {
    let place: Int
    let layer: Int
    let staging: Int
    let target: any StagingPlaces
    let ticket: UInt64
  }

  enum ReadState { case idle, pending, right, wrong }

  /// Where a place's block is.
  enum Content {
    case nothing
    case copy(Int)
    case file
  }

  struct State {
    var writes = RequestQueue<Write>()
    var reads = RequestQueue<Read>()
    /// [places]
    var contents: [Content]
    /// [places] number of the last write.
    var generations: [UInt64]
    var freeCopies: [Int]
    /// [copies] who needs it: its write, and reads from it.
    var copyUsers: [Int]
    /// [staging places so far]
    var readStates: [ReadState] = []
    var tickets: [UInt64] = []
    /// The staging place that is waited for.
    var awaited = -1
    var traffic = OverflowTraffic()
    /// Waits in a row that ended with their deadline.
    var lateCount = 0
    var isEnding = false

    /// After these nothing is waited for: the disk is gone.
    var isDead: Bool { lateCount >= 3 }
  }

  let shape: OverflowConfiguration.Shape
  let medium: any OverflowMedium
  private let deadline: Double
  let key = SymmetricKey(size: .bits256)
  let copies: HostArena
  let state: Mutex<State>
  let writeWork = DispatchSemaphore(value: 0)
  let readWork = DispatchSemaphore(value: 0)
  let copyFreed: DispatchSemaphore
  let readEnded = DispatchSemaphore(value: 0)

  init(
    _ shape: OverflowConfiguration.Shape, medium: any OverflowMedium, configuration: OverflowFile.Configuration
  ) throws(TierError) {
    self.shape = shape
    self.medium = medium
    deadline = configuration.deadline
    let count = max(configuration.writesBehind, 1)
    copies = try HostArena(blockCount: count, blockBytes: shape.blockBytes)
    // A semaphore may not end below the value it began with.
    copyFreed = DispatchSemaphore(value: 0)
    state = Mutex(
      State(
        contents: [Content](repeating: .nothing, count: shape.placeCount),
        generations: [UInt64](repeating: 0, count: shape.placeCount), freeCopies: Array(0..<count),
        copyUsers: [Int](repeating: 0, count: count)))
  }

  var traffic: OverflowTraffic { state.withLock { $0.traffic } }

  func end() {
    state.withLock { $0.isEnding = true }
    writeWork.signal()
    readWork.signal()
  }

  // MARK: The owner's side

  func write(_ place: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
    guard let copy = takeCopy() else {
      state.withLock { state in
        state.contents[place] = .nothing
        state.generations[place] += 1
        state.traffic.failedWrites += 1
      }
      return
    }
    fill(copies.bytes(of: copy))
    state.withLock { state in
      state.generations[place] += 1
      state.contents[place] = .copy(copy)
      state.copyUsers[copy] = 1
      state.writes.append(Write(place: place, copy: copy, generation: state.generations[place]))
    }
    writeWork.signal()
  }

  /// Memory for a write, waited for until the deadline.
  private func takeCopy() -> Int? {
    let end = DispatchTime.now() + deadline
    while true {
      let (copy, isDead) = state.withLock { ($0.freeCopies.popLast(), $0.isDead) }
      if let copy { return copy }
      if isDead { return nil }
      if copyFreed.wait(timeout: end) == .timedOut {
        state.withLock { $0.lateCount += 1 }
        return nil
      }
    }
  }

  func read(_ place: Int, layer: Int, into staging: Int, of target: any StagingPlaces) {
    state.withLock { state in
      while state.readStates.count <= staging {
        state.readStates.append(.idle)
        state.tickets.append(0)
      }
      state.tickets[staging] += 1
      state.readStates[staging] = .pending
      state.reads.append(
        Read(place: place, layer: layer, staging: staging, target: target, ticket: state.tickets[staging]))
    }
    readWork.signal()
  }

  func wait(_ staging: Int) -> Bool {
    let end = DispatchTime.now() + deadline
    while true {
      let (found, isDead) = state.withLock { state -> (ReadState, Bool) in
        let found = state.readStates[staging]
        if found == .pending { state.awaited = staging } else { state.readStates[staging] = .idle }
        if found == .right { state.lateCount = 0 }
        return (found, state.isDead)
      }
      if found != .pending { return found == .right }
      if isDead || readEnded.wait(timeout: end) == .timedOut { return giveUp(staging) }
    }
  }

  /// A read that took too long: whenever it ends, nobody looks at it.
  private func giveUp(_ staging: Int) -> Bool {
    state.withLock { state in
      state.awaited = -1
      defer { state.readStates[staging] = .idle }
      if state.readStates[staging] == .right { return true }
      state.tickets[staging] += 1
      state.lateCount += 1
      state.traffic.failedReads += 1
      return false
    }
  }
}
