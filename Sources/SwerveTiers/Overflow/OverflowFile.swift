import Dispatch
package import SwerveCore

/// Blocks of running sequences in one file: a place of fixed size each, each layer sealed by itself, so that one layer
/// can be read and verified alone.
///
/// The file is this process's alone: AES-256-GCM under a random key that is kept in memory only, in a file without a
/// name. Place, layer and the number of the write are authenticated with a piece, so what comes back is what was written
/// last, or a failure. Nothing of it survives the process; blocks worth keeping longer are the `FileTier`'s.
///
/// `write` copies and returns; one thread seals and writes behind. Reads are carried out by threads of their own, from
/// the copy where the write has not ended. Every wait has a deadline, after which the block counts as lost.
package final class OverflowFile: OverflowStore {
  package struct Configuration: Sendable {
    /// Threads that read.
    package var readerCount = 2
    /// Blocks whose write may be under way.
    package var writesBehind = 8
    /// Seconds that a read, or room for a write, is waited for.
    package var deadline = 30.0

    package init() {}
  }

  package let placeCount: Int
  private let core: OverflowCore

  /// A file for `shape.placeCount` places in `folder`. Throws where no file can be made there or memory is short.
  package convenience init(
    _ shape: OverflowConfiguration.Shape, folder: String, configuration: Configuration = Configuration()
  ) throws(TierError) {
    try self.init(shape, medium: UnnamedFile(folder: folder), configuration: configuration)
  }

  package init(
    _ shape: OverflowConfiguration.Shape, medium: any OverflowMedium, configuration: Configuration = Configuration()
  ) throws(TierError) {
    guard shape.placeCount > 0, shape.layerCount > 0, shape.pieceBytes > 0 else {
      throw .configuration(
        tier: "nvme",
        reason:
          "needs room for at least one block of running sequences, not \(shape.placeCount) of \(shape.blockBytes) "
          + "bytes; make it larger")
    }
    placeCount = shape.placeCount
    core = try OverflowCore(shape, medium: medium, configuration: configuration)
    startLaneThread { [core] in core.writeUntilEnd() }
    for _ in 0..<max(configuration.readerCount, 1) { startLaneThread { [core] in core.readUntilEnd() } }
  }

  deinit { core.end() }

  /// Bytes of the file that a block takes.
  package static func placeBytes(layerCount: Int, pieceBytes: Int) -> Int {
    layerCount * (pieceBytes + OverflowCore.sealBytes)
  }

  package func write(_ place: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) { core.write(place, fill: fill) }

  package func read(_ place: Int, layer: Int, into staging: Int, of target: any StagingPlaces) {
    core.read(place, layer: layer, into: staging, of: target)
  }

  package func wait(_ staging: Int) -> Bool { core.wait(staging) }

  package var traffic: OverflowTraffic { core.traffic }
}
