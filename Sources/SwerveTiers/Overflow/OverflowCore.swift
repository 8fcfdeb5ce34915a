import Crypto
import Dispatch
import SwerveCore
import Synchronization

/// What an overflow file and its threads share.
final class OverflowCore: Sendable {
  /// Nonce and tag of a piece.
  static let sealBytes = BlockCipher.nonceBytes + BlockCipher.tagBytes

  private struct Write {
    let place: Int
    let copy: Int
    let generation: UInt64
  }

  private struct Read {
    let place: Int
    let layer: Int
    let staging: Int
    let target: any StagingPlaces
    let ticket: UInt64
  }

  private enum ReadState { case idle, pending, right, wrong }

  /// Where a place's block is.
  private enum Content {
    case nothing
    case copy(Int)
    case file
  }

  private struct State {
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

  private let shape: OverflowConfiguration.Shape
  private let medium: any OverflowMedium
  private let deadline: Double
  private let key = SymmetricKey(size: .bits256)
  private let copies: HostArena
  private let state: Mutex<State>
  private let writeWork = DispatchSemaphore(value: 0)
  private let readWork = DispatchSemaphore(value: 0)
  private let copyFreed: DispatchSemaphore
  private let readEnded = DispatchSemaphore(value: 0)

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

  // MARK: The writer's thread

  func writeUntilEnd() {
    let placeBytes = OverflowFile.placeBytes(layerCount: shape.layerCount, pieceBytes: shape.pieceBytes)
    let sealed = ScratchMemory(byteCount: placeBytes)
    while true {
      writeWork.wait()
      let (write, isEnding) = state.withLock { ($0.writes.popFirst(), $0.isEnding) }
      if isEnding { return }
      guard let write else { continue }
      let isCurrent = state.withLock { $0.generations[write.place] == write.generation }
      let isWritten = isCurrent && self.write(write, sealed.bytes)
      state.withLock { state in
        if state.generations[write.place] == write.generation {
          state.contents[write.place] = isWritten ? .file : .nothing
          if isWritten { state.traffic.writtenBytes += placeBytes } else { state.traffic.failedWrites += 1 }
        }
      }
      release(write.copy)
    }
  }

  private func write(_ write: Write, _ sealed: UnsafeMutableRawBufferPointer) -> Bool {
    let block = UnsafeRawBufferPointer(copies.bytes(of: write.copy))
    let stride = shape.pieceBytes + Self.sealBytes
    for layer in 0..<shape.layerCount {
      let piece = UnsafeRawBufferPointer(rebasing: block[(layer * shape.pieceBytes)..<((layer + 1) * shape.pieceBytes)])
      let target = UnsafeMutableRawBufferPointer(rebasing: sealed[(layer * stride)..<((layer + 1) * stride)])
      withName(place: write.place, layer: layer, generation: write.generation) { name in
        BlockCipher.seal(piece, header: name, key: key) { target.copyMemory(from: $0) }
      }
    }
    do throws(FileFailure) {
      try medium.write(UnsafeRawBufferPointer(sealed), at: write.place * sealed.count)
      return true
    } catch {
      return false
    }
  }

  /// One user of a copy less; the last one frees it.
  private func release(_ copy: Int) {
    let isFree = state.withLock { state in
      state.copyUsers[copy] -= 1
      if state.copyUsers[copy] == 0 { state.freeCopies.append(copy) }
      return state.copyUsers[copy] == 0
    }
    if isFree { copyFreed.signal() }
  }

  // MARK: A reader's thread

  func readUntilEnd() {
    let sealed = ScratchMemory(byteCount: shape.pieceBytes + Self.sealBytes)
    while true {
      readWork.wait()
      let (read, isEnding) = state.withLock { ($0.reads.popFirst(), $0.isEnding) }
      if isEnding {
        // The next thread's turn to end.
        readWork.signal()
        return
      }
      if let read { carryOut(read, sealed.bytes) }
    }
  }

  private func carryOut(_ read: Read, _ sealed: UnsafeMutableRawBufferPointer) {
    let (content, generation) = state.withLock { state -> (Content, UInt64) in
      if case .copy(let copy) = state.contents[read.place] { state.copyUsers[copy] += 1 }
      return (state.contents[read.place], state.generations[read.place])
    }
    switch content {
    case .nothing: finish(read, nil)
    case .copy(let copy):
      let block = UnsafeRawBufferPointer(copies.bytes(of: copy))
      let begin = read.layer * shape.pieceBytes
      finish(read, UnsafeRawBufferPointer(rebasing: block[begin..<(begin + shape.pieceBytes)]))
      release(copy)
    case .file:
      let offset = read.place * OverflowFile.placeBytes(layerCount: shape.layerCount, pieceBytes: shape.pieceBytes)
      do throws(FileFailure) {
        try medium.read(into: sealed, at: offset + read.layer * sealed.count)
      } catch {
        finish(read, nil)
        return
      }
      let isRight: Void? = withName(place: read.place, layer: read.layer, generation: generation) { name in
        BlockCipher.open(sealed, header: name, key: key) { finish(read, $0) }
      }
      if isRight == nil { finish(read, nil) }
    }
  }

  /// Hands the piece over, nil = it could not be had, unless nobody waits for it any more.
  private func finish(_ read: Read, _ piece: UnsafeRawBufferPointer?) {
    let wakes = state.withLock { state in
      guard state.tickets[read.staging] == read.ticket else { return false }
      if let piece, piece.count == shape.pieceBytes {
        // Under the lock: a read that is given up in this moment must not write where the next one does.
        read.target.piece(read.staging).copyMemory(from: piece)
        state.readStates[read.staging] = .right
        state.traffic.readBytes += piece.count
      } else {
        state.readStates[read.staging] = .wrong
        state.traffic.failedReads += 1
      }
      guard state.awaited == read.staging else { return false }
      state.awaited = -1
      return true
    }
    if wakes { readEnded.signal() }
  }

  /// What is authenticated with a piece besides its bytes.
  private func withName<Value>(
    place: Int, layer: Int, generation: UInt64, _ body: (UnsafeRawBufferPointer) -> Value
  ) -> Value {
    var name = (UInt64(place).littleEndian, UInt64(layer).littleEndian, generation.littleEndian)
    return withUnsafeBytes(of: &name) { body($0) }
  }
}
