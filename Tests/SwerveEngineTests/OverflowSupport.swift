import Foundation
import SwerveCore
import Synchronization

/// An overflow store in memory, with faults: pieces that are lost or whose writes fail. Reads are carried out at once, so
/// that a piece that is used before it was waited for is found by its number, not by luck.
final class MemoryOverflow: OverflowStore {
  private struct State {
    var blocks: [[UInt8]?]
    var pending: [Int: Bool] = [:]
    var traffic = OverflowTraffic()
    var failsEvery: Int?
    var losses = 0
    var reads = 0
    var isBroken = false
  }

  let placeCount: Int
  private let shape: OverflowConfiguration.Shape
  private let state: Mutex<State>

  init(_ shape: OverflowConfiguration.Shape) {
    self.shape = shape
    placeCount = shape.placeCount
    state = Mutex(State(blocks: [[UInt8]?](repeating: nil, count: shape.placeCount)))
  }

  /// Loses the block of every so many reads, until `count` were lost.
  func lose(every interval: Int, count: Int) {
    state.withLock { state in
      state.failsEvery = interval
      state.losses = count
    }
  }
  /// Nothing can be written or read any more.
  func breakDown() { state.withLock { $0.isBroken = true } }

  func write(_ place: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
    var bytes = [UInt8](repeating: 0, count: shape.blockBytes)
    bytes.withUnsafeMutableBytes { fill($0) }
    state.withLock { state in
      state.blocks[place] = state.isBroken ? nil : bytes
      if state.isBroken { state.traffic.failedWrites += 1 } else { state.traffic.writtenBytes += bytes.count }
    }
  }

  func read(_ place: Int, layer: Int, into staging: Int, of target: any StagingPlaces) {
    state.withLock { state in
      precondition(state.pending[staging] == nil, "a staging place is read into twice")
      state.reads += 1
      if let interval = state.failsEvery, state.losses > 0, state.reads % interval == 0 {
        state.blocks[place] = nil
        state.losses -= 1
      }
      guard !state.isBroken, let block = state.blocks[place] else {
        state.pending[staging] = false
        state.traffic.failedReads += 1
        return
      }
      target.piece(staging).copyBytes(from: block[(layer * shape.pieceBytes)..<((layer + 1) * shape.pieceBytes)])
      state.traffic.readBytes += shape.pieceBytes
      state.pending[staging] = true
    }
  }

  func wait(_ staging: Int) -> Bool {
    state.withLock { state in
      guard let isRight = state.pending.removeValue(forKey: staging) else {
        preconditionFailure("a staging place is waited for and was not read into")
      }
      return isRight
    }
  }

  var traffic: OverflowTraffic { state.withLock { $0.traffic } }
}

/// Keeps the store that an engine made, so that a test can harm it.
final class StoreKeeper: Sendable {
  private let kept = Mutex<MemoryOverflow?>(nil)

  var store: MemoryOverflow? { kept.withLock { $0 } }

  func make(_ shape: OverflowConfiguration.Shape) -> any OverflowStore {
    let store = MemoryOverflow(shape)
    kept.withLock { $0 = store }
    return store
  }

  func overflow(host: Int, store: Int, staging: Int = 16, perStep: Int? = nil) -> OverflowConfiguration {
    var overflow = OverflowConfiguration()
    overflow.hostBlocks = host
    overflow.storeBlocks = store
    overflow.stagingBlocks = staging
    overflow.storeBlocksPerStep = perStep
    overflow.makeStore = { self.make($0) }
    return overflow
  }
}
