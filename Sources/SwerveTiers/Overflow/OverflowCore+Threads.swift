import Crypto
import Dispatch
import SwerveCore
import Synchronization

// What the threads of an overflow file do: one writes behind, the others read.
extension OverflowCore {
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
