import Synchronization

/// Buffers and word caches that wait for the next call, at most as many as calls ran in parallel.
final class ScratchPool: Sendable {
  /// `@unchecked Sendable` holds because a box is either in the pool, where nobody looks inside, or in the hands of the
  /// one call that took it out under the lock.
  private final class Box: @unchecked Sendable {
    var scratch = EncodingScratch()
  }

  private let boxes = Mutex<[Box]>([])
  private static let maximumKept = 16

  func withScratch(_ body: (inout EncodingScratch) -> Void) {
    let box = boxes.withLock { $0.popLast() } ?? Box()
    body(&box.scratch)
    boxes.withLock { boxes in
      if boxes.count < Self.maximumKept { boxes.append(box) }
    }
  }
}
