internal import CSwervePlatform
internal import Dispatch
internal import Synchronization

extension GatherCore {
  /// Starts a thread that fetches until the end; false where the system has none.
  func startReader() -> Bool {
    let context = Unmanaged.passRetained(self)
    let code = swerve_thread_start(
      "swerve-gather", 1 << 20, { GatherCore.run($0) }, context.toOpaque())
    if code != 0 { context.release() }
    return code == 0
  }

  private static func run(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<GatherCore>.fromOpaque(context).takeRetainedValue().readUntilEnd()
  }

  private func readUntilEnd() {
    while true {
      work.wait()
      let (piece, isEnding) = state.withLock { state in
        (state.isEnding ? nil : nextPiece(&state), state.isEnding)
      }
      if isEnding {
        // The next thread's turn to end.
        work.signal()
        return
      }
      guard let piece else { continue }
      let target = UnsafeMutableRawBufferPointer(
        start: memory.pointer + piece.slot * slotBytes + piece.offset, count: piece.count)
      do throws(GatherError) {
        try sources[piece.item.source].read(
          into: target, at: piece.item.offset + piece.offset, needed: piece.needed)
        finish(piece, failure: nil)
      } catch {
        finish(piece, failure: error)
      }
    }
  }
}
