internal import CSwervePlatform
internal import Crypto

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif

/// A key that two engines share: everything behind their greetings is sealed under keys made of it.
package struct BlockKey: Sendable {
  let key: SymmetricKey

  /// 32 bytes.
  package init(_ bytes: [UInt8]) {
    precondition(bytes.count == 32, "a link's key is 32 bytes")
    key = SymmetricKey(data: bytes)
  }
}

/// Frames over a connection. One thread owns it.
///
/// Every payload has a CRC-32C. With a key, payload and header are sealed with AES-256-GCM: each connection and direction
/// has a key of its own, made of the shared one and of both greetings, and counts its frames, so that no nonce comes
/// twice and no frame can be changed, dropped, repeated or moved.
package final class BlockLink {
  private struct Seal {
    let key: SymmetricKey
    var count: UInt64 = 0

    mutating func nonce() -> AES.GCM.Nonce {
      count += 1
      var bytes = [UInt8](repeating: 0, count: 12)
      for place in 0..<8 { bytes[4 + place] = UInt8(truncatingIfNeeded: count >> UInt64(8 * place)) }
      guard let nonce = try? AES.GCM.Nonce(data: bytes) else { preconditionFailure("a nonce has 12 bytes") }
      return nonce
    }
  }

  package let socket: WireSocket
  private let isDialer: Bool
  private let capacity: Int
  private var outgoing: Seal?
  private var incoming: Seal?
  private let header: UnsafeMutableRawBufferPointer
  /// A payload as it came, sealed or not.
  private let buffer: UnsafeMutableRawBufferPointer
  /// Bytes of frames each way, headers and seals included.
  package private(set) var sentBytes = 0
  package private(set) var receivedBytes = 0

  static let tagBytes = 16

  /// - Parameter capacity: bytes of the longest payload.
  package init(_ socket: WireSocket, isDialer: Bool, capacity: Int) {
    self.socket = socket
    self.isDialer = isDialer
    self.capacity = max(capacity, BlockGreeting.capacity)
    header = .allocate(byteCount: BlockFrame.byteCount, alignment: 16)
    buffer = .allocate(byteCount: self.capacity + Self.tagBytes, alignment: 64)
  }

  deinit {
    header.deallocate()
    buffer.deallocate()
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
      let salt = Data(isDialer ? own.bytes + theirs : theirs + own.bytes)
      func derived(_ name: String) -> Seal {
        Seal(
          key: HKDF<SHA256>.deriveKey(
            inputKeyMaterial: key.key, salt: Data(SHA256.hash(data: salt)), info: Data("swerve blocks \(name)".utf8),
            outputByteCount: 32))
      }
      outgoing = derived(isDialer ? "dialer" : "listener")
      incoming = derived(isDialer ? "listener" : "dialer")
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
    guard outgoing != nil else {
      if !payload.isEmpty { try socket.send(payload, within: seconds) }
      return
    }
    guard let nonce = outgoing?.nonce(), let key = outgoing?.key,
      let box = try? AES.GCM.seal(payload, using: key, nonce: nonce, authenticating: UnsafeRawBufferPointer(header))
    else { preconditionFailure("AES-256-GCM refuses a payload of \(payload.count) bytes") }
    let sealed = Array(box.ciphertext) + Array(box.tag)
    sentBytes += Self.tagBytes
    try sealed.lend { bytes throws(TransferError) in try socket.send(bytes, within: seconds) }
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
    let sealed = incoming == nil ? count : count + Self.tagBytes
    let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<sealed])
    if sealed > 0 { try socket.receive(into: bytes, within: seconds) }
    receivedBytes += header.count + sealed
    if incoming != nil { try open(bytes, count) }
    guard swerve_crc32c(0, buffer.baseAddress, count) == frame.payloadCheck else {
      throw .malformed("a payload of \(socket.peer) is damaged")
    }
    return frame
  }

  /// The bytes behind the frame received last.
  package func payload(_ frame: BlockFrame) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: buffer[..<Int(frame.payloadBytes)])
  }

  /// Takes the seal off in place.
  private func open(_ bytes: UnsafeMutableRawBufferPointer, _ count: Int) throws(TransferError) {
    guard let nonce = incoming?.nonce(), let key = incoming?.key,
      let box = try? AES.GCM.SealedBox(
        nonce: nonce, ciphertext: UnsafeRawBufferPointer(rebasing: bytes[..<count]),
        tag: UnsafeRawBufferPointer(rebasing: bytes[count...])),
      let plain = try? AES.GCM.open(box, using: key, authenticating: UnsafeRawBufferPointer(header))
    else {
      throw .refused(
        "\(socket.peer) sealed a message with another key, or it was changed on its way; give both the same --link-key-file"
      )
    }
    plain.withUnsafeBytes { if count > 0 { bytes.copyMemory(from: $0) } }
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
