import SwerveHardware
import SwerveInference

// Partial attention: a sequence whose blocks lie with several workers. In the first turn the one that has its beginning
// attends to that and answers what it has so far, a maximum, a sum and an output in float32 for each row and head; this
// goes to the worker that has what follows, and so on; the last one answers the output. Partitions are merged in
// index order with the arithmetic of one worker, so nothing depends on where they lie.
extension FanoutAttention {
  /// A layer's next turn: of all sequences that are not through. Waits for it.
  func takeTurn(_ turn: Int, layer: Int) {
    guard let rows = submitted[0] else { return }
    post(layer: layer, part: turn, rows)
    collect(layer: layer, part: turn)
  }

  /// Running values of a worker's rows, for it to go on with.
  func copyStates(to place: UnsafeMutableRawPointer, part: Int, worker: Int) {
    var at = place
    for run in parts[part].runs where run.worker == Int32(worker) && run.continues {
      let bytes = Int(run.rowCount) * rowStateBytes
      at.copyMemory(from: states.pointer + Int(run.firstRow) * rowStateBytes, byteCount: bytes)
      at += bytes
      workers.steps.handedBytes += bytes
    }
  }

  /// Running values that a worker came to.
  func takeStates(from place: UnsafeRawPointer, part: Int, worker: Int) {
    var at = place
    for run in parts[part].runs where run.worker == Int32(worker) && run.goesOn {
      let bytes = Int(run.rowCount) * rowStateBytes
      (states.pointer + Int(run.firstRow) * rowStateBytes).copyMemory(from: at, byteCount: bytes)
      at += bytes
    }
  }
}
