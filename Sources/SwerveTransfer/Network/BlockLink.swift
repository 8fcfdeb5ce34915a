internal import CSwervePlatform

/// Frames over a connection. One thread owns it.
///
/// Every payload has a CRC-32C. With a key, payload and header are sealed with AES-256-GCM: each connection and direction
/// has a key of its own, made of the shared one and of both greetings, and counts its frames, so that no nonce comes
/// twice and no frame can be changed, dropped, repeated or moved.
package final class BlockLink {
  package let socket: BlockSocket
  private let isDialer: Bool
  private let capacity: Int
  private var outgoing: BlockSeal?
  private var incoming: BlockSeal?
  private let header: UnsafeMutableRawBufferPointer
  /// A payload as it came, sealed or not.
  private let buffer: UnsafeMutableRawBufferPointer
  /// A payload as it goes, where it is sealed.
  private var sealed: UnsafeMutableRawBufferPointer?
  /// Bytes of frames each way, headers and seals included.
  package private(set) var sentBytes = 0
  package private(set) var receivedBytes = 0

  /// - Parameter capacity: bytes of the longest payload.
  package init(_ socket: BlockSocket, isDialer: Bool, capacity: Int) {
    self.socket = socket
    self.isDialer = isDialer
    self.capacity = max(capacity, BlockGreeting.capacity)
    header = .allocate(byteCount: BlockFrame.byteCount, alignment: 16)
    buffer = .allocate(byteCount: self.capacity + LinkCipher.tagBytes, alignment: 64)
  }

  deinit {
    header.deallocate()
    buffer.deallocate()
    sealed?.deallocate()
  }

  /// Tells who we are and learns who they are. Nothing else may be said before.
  ///
  /// - Throws: `.refused` where they are not what they have to be.
  package func greet(
    _ own: BlockGreeting, key: BlockKey?, within seconds: Double
  ) throws(TransferError) -> BlockGreeting {
    var own = own
    own.isSealed = key != nil
    var generator = SystemRandomNumberGenerator()
    own.nonce = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    let none = BlockTransferID(low: 0, high: 0)
    if isDialer { try send(BlockFrame(.hello, none), own.bytes, within: seconds) }
    let frame = try receive(within: seconds)
    guard frame.kind == .hello else { throw .malformed("\(socket.peer) said \(frame.kind) before its greeting") }
    let theirs = Array(payload(frame))
    if !isDialer { try send(BlockFrame(.hello, none), own.bytes, within: seconds) }
    let other = try theirs.lend { bytes throws(TransferError) in
      try BlockGreeting(bytes, from: socket.peer)
    }
    try own.check(other, at: socket.peer)
    if let key {
      let greetings = isDialer ? own.bytes + theirs : theirs + own.bytes
      outgoing = BlockSeal(key, greetings: greetings, from: isDialer ? .fromDialer : .fromListener)
      incoming = BlockSeal(key, greetings: greetings, from: isDialer ? .fromListener : .fromDialer)
      sealed = .allocate(byteCount: capacity + LinkCipher.tagBytes, alignment: 64)
    }
    return other
  }

  // MARK: Out

  package func send(_ frame: BlockFrame, _ bytes: [UInt8] = [], within seconds: Double) throws(TransferError) {
    try bytes.lend { payload throws(TransferError) in try send(frame, payload, within: seconds) }
  }

  package func send(
    _ frame: BlockFrame, _ payload: UnsafeRawBufferPointer, within seconds: Double
  ) throws(TransferError) {
    precondition(payload.count <= capacity, "a payload above the link's capacity")
    var frame = frame
    frame.payloadBytes = UInt32(payload.count)
    frame.payloadCheck = swerve_crc32c(0, payload.baseAddress, payload.count)
    frame.write(to: header)
    try socket.send(UnsafeRawBufferPointer(header), within: seconds)
    sentBytes += header.count + payload.count
    guard let sealed else {
      if !payload.isEmpty { try socket.send(payload, within: seconds) }
      return
    }
    let bytes = UnsafeMutableRawBufferPointer(rebasing: sealed[..<(payload.count + LinkCipher.tagBytes)])
    outgoing?.seal(payload, header: UnsafeRawBufferPointer(header), into: bytes)
    sentBytes += LinkCipher.tagBytes
    try socket.send(UnsafeRawBufferPointer(bytes), within: seconds)
  }

  // MARK: In

  /// The next frame, checked; its payload is `payload(frame)` until the next one.
  ///
  /// - Throws: `.malformed` for a damaged or forged one: nothing that follows means anything then.
  package func receive(within seconds: Double) throws(TransferError) -> BlockFrame {
    try socket.receive(into: header, within: seconds)
    let frame = try BlockFrame(UnsafeRawBufferPointer(header), from: socket.peer)
    let count = Int(frame.payloadBytes)
    guard count <= capacity else {
      throw .malformed("\(socket.peer) announces \(count) bytes where \(capacity) are the most")
    }
    let sealed = incoming == nil ? count : count + LinkCipher.tagBytes
    let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<sealed])
    if sealed > 0 { try socket.receive(into: bytes, within: seconds) }
    receivedBytes += header.count + sealed
    if let isOurs = incoming?.open(bytes, header: UnsafeRawBufferPointer(header)), !isOurs {
      throw .refused(
        "\(socket.peer) sealed a message with another key, or it was changed on its way; give both the same --link-key-file"
      )
    }
    guard swerve_crc32c(0, buffer.baseAddress, count) == frame.payloadCheck else {
      throw .malformed("a payload of \(socket.peer) is damaged")
    }
    return frame
  }

  /// The bytes behind the frame received last.
  package func payload(_ frame: BlockFrame) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: buffer[..<Int(frame.payloadBytes)])
  }
}

extension [UInt8] {
  /// `withUnsafeBytes` that keeps the error's type.
  func lend<Value>(
    _ body: (UnsafeRawBufferPointer) throws(TransferError) -> Value
  ) throws(TransferError) -> Value {
    let result: Result<Value, TransferError> = withUnsafeBytes { bytes in
      do throws(TransferError) { return .success(try body(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
