package import SwerveCore
package import SwerveHardware

extension Channel {
  /// The next message, which must have so many bytes.
  package func receive(byteCount: Int, from peer: String) throws(ChannelError) -> UnsafeRawPointer {
    let message = try receive()
    guard message.count == byteCount, let first = message.baseAddress else {
      throw .malformed(peer: peer, reason: "a message of \(message.count) bytes where \(byteCount) are due")
    }
    return first
  }

  /// Sends bytes that the receiver expects, in as many messages as they need.
  package func sendAll(_ bytes: UnsafeRawBufferPointer) throws(ChannelError) {
    guard let base = bytes.baseAddress else { return }
    for first in stride(from: 0, to: bytes.count, by: capacity) {
      let count = min(capacity, bytes.count - first)
      try reserve(count).copyMemory(from: UnsafeRawBufferPointer(start: base + first, count: count))
      try send(count)
    }
  }

  /// Receives what the other side sends with `sendAll`.
  package func receiveAll(into bytes: UnsafeMutableRawBufferPointer, from peer: String) throws(ChannelError) {
    guard let base = bytes.baseAddress else { return }
    for first in stride(from: 0, to: bytes.count, by: capacity) {
      let count = min(capacity, bytes.count - first)
      (base + first).copyMemory(from: try receive(byteCount: count, from: peer), byteCount: count)
      try release()
    }
  }

  /// Rows without gaps.
  package func sendAll(rows: Tensor) throws(ChannelError) {
    precondition(rows.rowStride == rows.columns, "rows without gaps")
    try sendAll(UnsafeRawBufferPointer(start: rows.pointer, count: rows.rows * rows.rowBytes))
  }

  package func receiveAll(rows: Tensor, from peer: String) throws(ChannelError) {
    precondition(rows.rowStride == rows.columns, "rows without gaps")
    try receiveAll(
      into: UnsafeMutableRawBufferPointer(start: rows.pointer, count: rows.rows * rows.rowBytes), from: peer)
  }
}
