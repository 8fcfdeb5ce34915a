internal import CSwervePlatform
package import SwerveCore

/// One direction between workers of different hosts, over a stream that both directions share: what `SharedChannel` is
/// within a host. Messages are built and read in memory of this object, taken once; they travel as records
/// (`LinkRecord`), sealed where the link has a key.
///
/// A plain channel allocates nothing after its start; a sealed one what the cipher library's types take, per record.
package final class StreamChannel: LinkChannel {
  package enum End: Sendable { case sender, receiver }

  package struct Settings: Sendable {
    /// The other side's name in errors.
    package var peer: String
    /// The longest wait of a call. Seconds.
    package var deadline: Double
    /// nil: records travel as they are.
    package var key: LinkKey?
    /// Tells of a peer that is gone; nil: only the deadline and the stream do.
    package var watch: (any PeerWatch)?

    package init(peer: String, deadline: Double, key: LinkKey?, watch: (any PeerWatch)? = nil) {
      self.peer = peer
      self.deadline = deadline
      self.key = key
      self.watch = watch
    }
  }

  package let capacity: Int
  package let end: End
  /// Bytes of the messages that went through this end.
  package private(set) var byteCount = 0
  private let socket: StreamSocket
  private let settings: Settings
  private let cipher: LinkCipher?
  /// The message: [capacity] and a line, for whoever reads rows may read that far beyond them.
  private let message: SharedMemory
  /// A record's header, then what is sealed of it.
  private let record: UnsafeMutableRawBufferPointer
  private var number: UInt64 = 0
  /// Bytes reserved or received; nil: no message is open.
  private var open: Int?
  private var failure: ChannelError?

  /// Both directions of a stream, at the side of a role.
  ///
  /// - Throws: where there is no memory for a message each way.
  package static func ends(
    _ socket: StreamSocket, at role: MessageHeader.Role, capacity: Int, _ settings: Settings
  ) throws(TransferError) -> (incoming: StreamChannel, outgoing: StreamChannel) {
    let (out, back): (LinkCipher.Direction, LinkCipher.Direction) =
      role == .parameter ? (.fromDialer, .fromListener) : (.fromListener, .fromDialer)
    return (
      try StreamChannel(socket, capacity: capacity, end: .receiver, back, settings),
      try StreamChannel(socket, capacity: capacity, end: .sender, out, settings)
    )
  }

  private init(
    _ socket: StreamSocket, capacity: Int, end: End, _ direction: LinkCipher.Direction, _ settings: Settings
  ) throws(TransferError) {
    self.socket = socket
    self.capacity = capacity
    self.end = end
    self.settings = settings
    cipher = settings.key.map { LinkCipher($0, direction) }
    message = try SharedMemory(byteCount: capacity + 64)
    let sealed = cipher == nil ? 0 : LinkRecord.capacity + LinkCipher.tagBytes
    record = .allocate(byteCount: LinkRecord.headerBytes + sealed, alignment: 64)
  }

  /// The stream is both directions'; it closes with the last of its users, or when one says so.
  deinit { record.deallocate() }

  package func close() { socket.end() }

  private var header: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: record[..<LinkRecord.headerBytes])
  }

  private func part(_ at: Int, _ count: Int) -> UnsafeMutableRawBufferPointer {
    message.part(at: at, count)
  }

  private var until: UInt64 { TransferClock.time(in: settings.deadline) }

  // MARK: Sending

  package func reserve(_ byteCount: Int) throws(ChannelError) -> UnsafeMutableRawBufferPointer {
    precondition(end == .sender && open == nil, "a channel reserves one message at a time, at its sender")
    if let failure { throw failure }
    guard byteCount >= 0 && byteCount <= capacity else {
      throw .tooLong(peer: settings.peer, byteCount: byteCount, capacity: capacity)
    }
    open = byteCount
    return part(0, byteCount)
  }

  package func send(_ byteCount: Int) throws(ChannelError) {
    guard let reserved = open, byteCount >= 0, byteCount <= reserved else {
      preconditionFailure("more is sent than was reserved")
    }
    if let failure { throw failure }
    open = nil
    let end = until
    var at = 0
    repeat {
      let count = min(byteCount - at, LinkRecord.capacity)
      try sendRecord(UnsafeRawBufferPointer(part(at, count)), of: byteCount, until: end)
      at += count
    } while at < byteCount
    self.byteCount += byteCount
  }

  private func sendRecord(_ content: UnsafeRawBufferPointer, of whole: Int, until end: UInt64) throws(ChannelError) {
    let head = LinkRecord(byteCount: content.count, messageBytes: whole, number: number)
    var body = content
    if let cipher {
      head.write(to: header, plain: nil)
      let sealed = UnsafeMutableRawBufferPointer(
        rebasing: record[LinkRecord.headerBytes..<LinkRecord.headerBytes + content.count + LinkCipher.tagBytes])
      cipher.seal(content, header: UnsafeRawBufferPointer(header), number: number, into: sealed)
      body = UnsafeRawBufferPointer(sealed)
    } else {
      head.write(to: header, plain: content)
    }
    number += 1
    do {
      try socket.write(UnsafeRawBufferPointer(header), body, until: end, watch: settings.watch)
    } catch {
      throw stopped(error)
    }
  }

  // MARK: Receiving

  package func receive() throws(ChannelError) -> UnsafeRawBufferPointer {
    precondition(end == .receiver && open == nil, "a channel receives one message at a time, at its receiver")
    if let failure { throw failure }
    let end = until
    var at = 0
    var whole: Int?
    repeat {
      let head = try receiveHeader(until: end)
      guard whole == nil || whole == head.messageBytes, at + head.byteCount <= head.messageBytes else {
        throw malformed("records of two messages are mixed")
      }
      whole = head.messageBytes
      try receiveContent(into: part(at, head.byteCount), until: end)
      number += 1
      at += head.byteCount
    } while at < whole ?? 0
    byteCount += at
    open = at
    return UnsafeRawBufferPointer(part(0, at))
  }

  private func receiveHeader(until end: UInt64) throws(ChannelError) -> LinkRecord {
    do { try socket.read(into: header, until: end, watch: settings.watch) } catch { throw stopped(error) }
    do {
      return try LinkRecord(
        UnsafeRawBufferPointer(header), isSealed: cipher != nil, number: number, capacity: capacity)
    } catch {
      throw malformed(error.reason)
    }
  }

  private func receiveContent(into place: UnsafeMutableRawBufferPointer, until end: UInt64) throws(ChannelError) {
    let header = UnsafeRawBufferPointer(header)
    guard let cipher else {
      do { try socket.read(into: place, until: end, watch: settings.watch) } catch { throw stopped(error) }
      guard LinkRecord.isWhole(header, UnsafeRawBufferPointer(place)) else {
        throw malformed("a record was damaged on its way (CRC-32C)")
      }
      return
    }
    let sealed = UnsafeMutableRawBufferPointer(
      rebasing: record[LinkRecord.headerBytes..<LinkRecord.headerBytes + place.count + LinkCipher.tagBytes])
    do { try socket.read(into: sealed, until: end, watch: settings.watch) } catch { throw stopped(error) }
    guard cipher.open(sealed, header: header, number: number, into: place) else {
      throw malformed("a record was altered on its way, or sealed with another key")
    }
  }

  package func release() throws(ChannelError) {
    guard open != nil else { preconditionFailure("a message is given back that was not received") }
    open = nil
    if let failure { throw failure }
  }

  package func hasMessage(within seconds: Double) throws(ChannelError) -> Bool {
    precondition(end == .receiver && open == nil, "a channel receives one message at a time, at its receiver")
    if let failure { throw failure }
    do {
      return try socket.hasBytes(until: TransferClock.time(in: seconds), watch: settings.watch)
    } catch {
      throw stopped(error)
    }
  }

  // MARK: Failures

  private func stopped(_ stop: StreamSocket.Stop) -> ChannelError {
    switch stop {
    case .timedOut: fail(.timedOut(peer: settings.peer, seconds: settings.deadline))
    case .closed: fail(.closed(peer: settings.peer))
    }
  }

  /// What cannot be trusted is not listened to any more.
  private func malformed(_ reason: String) -> ChannelError {
    socket.end()
    return fail(.malformed(peer: settings.peer, reason: reason))
  }

  private func fail(_ error: ChannelError) -> ChannelError {
    failure = error
    return error
  }
}
