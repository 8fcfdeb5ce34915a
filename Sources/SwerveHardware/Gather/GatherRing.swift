package import SwerveCore

/// Items that are gone through in one order, again and again, each fetched into one of a few buffers before it is its
/// turn: buffers are filled as soon as they are free, in the order in which items will be taken.
///
/// A round is all items but the last `tailCount`, then these as often as the round's user said (`begin`). The order is a
/// prediction: an item that is taken out of turn is fetched then, at the price of what was fetched in vain.
///
/// One thread takes and gives back; threads of the ring fetch. Every wait has a deadline. Nothing is allocated after
/// `init`.
package final class GatherRing: Sendable {
  package struct Configuration: Sendable {
    /// Items fetched ahead of the one in use; the ring has one buffer more. ≥ 1
    package var depth = 2
    /// Threads that fetch.
    package var readerCount = 4
    /// Bytes of a read.
    package var pieceBytes = 4 << 20
    /// Seconds an item is waited for.
    package var deadline = 60.0

    package init() {}
  }

  package let items: [GatherItem]
  package let memory: GatherMemory
  /// Buffers, and bytes from one to the next.
  package let slotCount: Int
  package let slotBytes: Int
  private let core: GatherCore

  /// - Parameters:
  ///   - items: in the order of use; each is at most `slotBytes` with the 64 bytes behind it.
  ///   - tailCount: of the items, the last ones, which a round goes through any number of times.
  package init(
    items: [GatherItem], tailCount: Int, slotBytes: Int, sources: [any GatherSource], device: CPUDevice,
    configuration: Configuration = Configuration()
  ) throws(HardwareError) {
    precondition(!items.isEmpty && tailCount >= 0 && tailCount < items.count, "a round has items of its own")
    precondition(configuration.depth >= 1, "a ring fetches ahead")
    precondition(
      items.allSatisfy {
        GatherItem.bufferBytes($0.byteCount) <= slotBytes && $0.offset % GatherItem.alignment == 0
          && sources.indices.contains($0.source)
      }, "an item that does not fit its buffer")
    self.items = items
    self.slotBytes = slotBytes
    slotCount = Self.slotCount(depth: configuration.depth)
    memory = try GatherMemory(byteCount: slotCount * slotBytes, device: device)
    core = GatherCore(
      items: items, tailCount: tailCount, slotCount: slotCount, slotBytes: slotBytes, memory: memory, sources: sources,
      configuration: configuration)
    for _ in 0..<max(1, configuration.readerCount) {
      guard core.startReader() else { throw .threadsUnavailable(requested: configuration.readerCount) }
    }
  }

  deinit { core.end() }

  package static func slotCount(depth: Int) -> Int { depth + 1 }

  /// Bytes of a ring's buffers.
  package static func byteCount(depth: Int, slotBytes: Int) -> Int { slotCount(depth: depth) * slotBytes }

  /// Says how often the tail will be gone through in the round that begins.
  package func begin(tailPasses: Int) { core.begin(tailPasses: tailPasses) }

  /// What was fetched ahead, or could not be, is forgotten and fetched again from the first item on. No item is taken.
  package func restart() { core.restart() }

  /// Waits for an item and answers the buffer that has it, until `giveBack`. One at a time.
  ///
  /// - Throws: why it could not be fetched. The item may be taken again.
  package func take(_ item: Int) throws(GatherError) -> Int { try core.take(item) }

  /// The item that was taken is not needed any more.
  package func giveBack() { core.giveBack() }

  package var traffic: GatherTraffic { core.traffic }
}
