import Glibc
import SwerveCore
import SwerveTiers

/// Block files as `cat` would write them: what a lane moves without headers, keys and tags.
struct PlainStore: BlockStore {
  let folder: String
  let synchronizes: Bool

  func path(_ identity: BlockIdentity) -> String { "\(folder)/\(identity.tokens[0].rawValue)" }

  func store(
    _ identity: BlockIdentity, from bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool
  ) -> StoreOutcome {
    writePlain(path(identity), bytes, synchronizes: synchronizes)
    return .stored(fileBytes: bytes.count)
  }

  func load(_ identity: BlockIdentity, into bytes: UnsafeMutableRawBufferPointer) -> LoadOutcome {
    readPlain(path(identity), bytes)
    return .hit(isLossy: false)
  }
}

/// Moves blocks through a lane, as the engine does, into sealed files and into plain ones in turn: what sealing costs
/// where some threads wait for the disk while another one opens.
func measureLanes(folder: String, blockMiB: Int, blocks: Int, rounds: Int) throws {
  let blockBytes = blockMiB << 20
  let plainFolder = folder + "/plain"
  try PosixFileSystem().makeFolder(plainFolder)
  let memories = (0..<blocks).map { _ in BlockMemory(bytes: memory(blockBytes), owner: ProcessLife()) }

  /// Seconds until all blocks are there.
  func move(_ lane: TransferLane, stores: Bool) -> Double {
    let begin = monotonicSeconds()
    for slot in 0..<blocks {
      let place = memories[slot]
      let id = TransferID(rawValue: UInt64(slot))
      let request: TransferRequest =
        stores ? .spill(id, identity(slot), from: place, reloadCost: 1) : .fetch(id, identity(slot), into: place)
      if let refusal = lane.submit(request) { fail("the lane refuses a block: \(refusal)") }
    }
    var done = 0
    var completions: [TransferCompletion] = []
    while done < blocks {
      lane.takeCompletions(into: &completions)
      for completion in completions {
        switch completion.outcome {
        case .spilled(.stored), .fetched(.hit): done += 1
        default: fail("block \(completion.id.rawValue): \(completion.outcome)")
        }
      }
      usleep(200)
    }
    return monotonicSeconds() - begin
  }

  var ratios: [String: [Double]] = [:]
  for synchronizes in [false, true] {
    for round in 0..<rounds {
      var settings = configuration(folder: folder + "/lane-\(synchronizes)-\(round)", blockBytes: blockBytes)
      settings.synchronizesBlocks = synchronizes
      let tier = try FileTier(settings, master: .ephemeral())
      var lanes = TransferLane.Configuration()
      lanes.capacity = blocks
      let sealed = TransferLane(store: tier, configuration: lanes)
      let plain = TransferLane(
        store: PlainStore(folder: plainFolder, synchronizes: synchronizes), configuration: lanes)
      for stores in [true, false] {
        if !stores && synchronizes {
          for path in filePaths(settings.folder) + (0..<blocks).map({ "\(plainFolder)/\($0)" }) { forget(path) }
        }
        // Who begins changes from round to round.
        var seconds = [0.0, 0.0]
        for turn in 0..<2 {
          let isSealed = (turn + round) % 2 == 0
          seconds[isSealed ? 1 : 0] = move(isSealed ? sealed : plain, stores: stores)
        }
        let what = (stores ? "write" : "read") + (synchronizes ? ", medium" : ", page cache")
        let rates = seconds.map { Double(blockBytes * blocks) / $0 / 1e9 }
        print("\(what): plain \(rates[0]) GB/s, sealed \(rates[1]) GB/s, \(rates[1] / rates[0])")
        ratios[what, default: []].append(rates[1] / rates[0])
      }
      _ = sealed.shutDown(.drain, within: 10)
      _ = plain.shutDown(.drain, within: 10)
      try tier.removeAll()
    }
  }
  for (what, values) in ratios.sorted(by: { $0.key < $1.key }) {
    let sorted = values.sorted()
    print("\(what): sealed ÷ plain \(sorted[sorted.count / 2]) (\(sorted[0])–\(sorted[sorted.count - 1]))")
  }
}

/// Memory of a benchmark is never given back.
private final class ProcessLife: Sendable {}
