import SwerveCore
import SwerveHardware
import SwerveTiers

extension TierPlan {
  /// The most that tiers give to blocks of running sequences: half of their room. nil where that holds no block.
  ///
  /// - Parameter inMemoryOnly: whether only places that attention reads where they lie are of use.
  func mostPlaces(_ layout: KVLayout, inMemoryOnly: Bool) -> OverflowConfiguration? {
    var places = OverflowConfiguration()
    if !hostIsPassage { places.hostBlocks = hostBytes / 2 / HostRegion.placeStride(layout) }
    if let files, !files.options.isReadOnly, !inMemoryOnly {
      places.storeBlocks = files.capacityBytes / 2 / Self.placeBytes(layout)
      places.makeStore = { try OverflowFile($0, folder: files.folder) }
    }
    if places.storeBlocks == 0 { places.makeStore = nil }
    return places.hostBlocks + places.storeBlocks > 0 ? places : nil
  }

  /// Bytes of the overflow file that a block takes.
  static func placeBytes(_ layout: KVLayout) -> Int {
    OverflowFile.placeBytes(layerCount: layout.layerCount, pieceBytes: layout.blockLayerBytes)
  }
}
