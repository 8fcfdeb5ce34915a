import SwerveCore
import SwerveHardware

/// The stream of pieces that a step reads from the overflow store: for each layer in order, the pieces of its segments
/// in order. Reads run ahead of attention as far as the ring has places, across layers: a block below the device is
/// never written, so the next layer's piece can be read while this one is computed.
///
/// Place i % places belongs to the stream's piece i, from its read until its segment was attended to.
struct StagingRing {
  private let store: any OverflowStore
  private let region: StagingRegion
  private let layerCount: Int
  /// [layers] the plan of each layer in this step; pieces are the batch's.
  private var batches: [AttentionBatch?] = []
  /// The next piece to read.
  private var nextLayer = 0
  private var nextPiece = 0
  /// Pieces of the stream that were asked for, and that were attended to.
  private var begun = 0
  private var ended = 0
  /// Sequences of the step, ascending, of which a piece could not be read.
  private(set) var incomplete: [Int32] = []

  init(store: any OverflowStore, region: StagingRegion, layerCount: Int) {
    self.store = store
    self.region = region
    self.layerCount = layerCount
    batches.reserveCapacity(layerCount)
  }

  /// Blocks of a partition: the least that can be attended to at once.
  static func partitionBlocks(_ layout: KVLayout) -> Int { AttentionBatch.partition / layout.blockTokens }

  /// Starts a step's stream: reads of the first layer begin before it is computed.
  mutating func begin(_ batch: (Int) -> AttentionBatch?) {
    // A step that failed left its reads under way: their places are not read into before they end.
    while ended < begun {
      _ = store.wait(ended % region.placeCount)
      ended += 1
    }
    begun = 0
    ended = 0
    nextLayer = 0
    nextPiece = 0
    if !incomplete.isEmpty { incomplete.removeAll(keepingCapacity: true) }
    batches.removeAll(keepingCapacity: true)
    for layer in 0..<layerCount { batches.append(batch(layer)) }
    readAhead()
  }

  /// Waits for a segment's pieces and puts them into the batch's block tables.
  mutating func take(_ segment: StagedSegment, of batch: AttentionBatch) {
    for (offset, index) in segment.pieces.enumerated() {
      let place = (ended + offset) % region.placeCount
      if !store.wait(place) && incomplete.last != segment.sequence { note(segment.sequence) }
      batch.stage(batch.pieces[index], at: place)
    }
  }

  /// The segment was attended to: its places may be read into.
  mutating func giveBack(_ segment: StagedSegment) {
    ended += segment.pieces.count
    readAhead()
  }

  private mutating func note(_ sequence: Int32) {
    if incomplete.contains(sequence) { return }
    incomplete.append(sequence)
    incomplete.sort()
  }

  private mutating func readAhead() {
    while begun - ended < region.placeCount && nextLayer < layerCount {
      guard let batch = batches[nextLayer], nextPiece < batch.pieces.count else {
        nextLayer += 1
        nextPiece = 0
        continue
      }
      store.read(
        Int(batch.pieces[nextPiece].block), layer: nextLayer, into: begun % region.placeCount, of: region)
      begun += 1
      nextPiece += 1
    }
  }
}
