import CAllocationCounter
import Foundation
import SwerveCore
import SwerveTransfer
import Synchronization
import Testing

/// Both sides of a link between hosts, over a stream within this process.
struct StreamPair {
  let parameter: (incoming: StreamChannel, outgoing: StreamChannel)
  let data: (incoming: StreamChannel, outgoing: StreamChannel)

  init(
    capacity: Int, key: LinkKey? = nil, dataKey: LinkKey? = nil, deadline: Double = 10,
    through carry: ((StreamSocket, StreamSocket) throws -> Void)? = nil
  ) throws {
    let (near, carriedNear) = try StreamSocket.pair()
    var far = carriedNear
    if let carry {
      let (carriedFar, end) = try StreamSocket.pair()
      try carry(carriedNear, carriedFar)
      far = end
    }
    func settings(_ peer: String, _ key: LinkKey?) -> StreamChannel.Settings {
      .init(peer: peer, deadline: deadline, key: key)
    }
    parameter = try StreamChannel.ends(near, at: .parameter, capacity: capacity, settings("d0", key))
    data = try StreamChannel.ends(far, at: .data, capacity: capacity, settings("the parameter worker", dataKey ?? key))
  }
}

func send(_ channel: StreamChannel, _ bytes: [UInt8]) throws {
  try channel.reserve(bytes.count).copyBytes(from: bytes)
  try channel.send(bytes.count)
}

func take(_ channel: StreamChannel) throws -> [UInt8] {
  let bytes = Array(try channel.receive())
  try channel.release()
  return bytes
}

/// Reads what was written to a raw socket, all of it so far.
func drain(_ socket: StreamSocket) -> [UInt8] {
  var all: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = recv(socket.number, &piece, piece.count, Int32(MSG_DONTWAIT))
    if count <= 0 { return all }
    all += piece[..<count]
  }
}

func put(_ socket: StreamSocket, _ bytes: [UInt8]) {
  var at = 0
  while at < bytes.count {
    let count = bytes[at...].withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, 0) }
    if count > 0 { at += count } else { usleep(100) }
  }
}

@Suite struct StreamChannelTests {
  @Test(arguments: [false, true]) func messagesArriveInOrderAndUnchanged(isSealed: Bool) throws {
    let capacity = 300_000
    let pair = try StreamPair(capacity: capacity, key: isSealed ? LinkKey() : nil)
    let lengths = (0..<300).map { index in
      index == 0 ? 0 : index % 7 == 0 ? capacity : (index &* 48_271) % (capacity + 1) >> (index % 9)
    }
    let outgoing = pair.parameter.outgoing
    nonisolated(unsafe) let sender = outgoing
    let worker = Worker {
      for (index, length) in lengths.enumerated() {
        guard let place = try? sender.reserve(length) else { return }
        for at in stride(from: 0, to: length, by: 61) { place[at] = UInt8(truncatingIfNeeded: at &+ index) }
        guard (try? sender.send(length)) != nil else { return }
      }
    }
    for (index, length) in lengths.enumerated() {
      let message = try pair.data.incoming.receive()
      #expect(Int(bitPattern: message.baseAddress) % 64 == 0)
      try #require(message.count == length, "message \(index)")
      for at in stride(from: 0, to: length, by: 61) where message[at] != UInt8(truncatingIfNeeded: at &+ index) {
        Issue.record("message \(index) is damaged at \(at)")
        return
      }
      try pair.data.incoming.release()
    }
    worker.wait()
    #expect(pair.data.incoming.byteCount == lengths.reduce(0, +))
    // And back.
    try send(pair.data.outgoing, [1, 2, 3])
    #expect(try pair.parameter.incoming.hasMessage(within: 1))
    #expect(try take(pair.parameter.incoming) == [1, 2, 3])
  }

  @Test func whatIsSealedCannotBeRead() throws {
    let text = Array("the owl went by, the owl went by, the owl went by".utf8)
    for key in [nil, LinkKey()] {
      let (near, far) = try StreamSocket.pair()
      let ends = try StreamChannel.ends(
        near, at: .parameter, capacity: 1000, .init(peer: "d0", deadline: 5, key: key))
      try send(ends.outgoing, text)
      let wire = drain(far)
      let shows = wire.indices.contains { wire[$0...].starts(with: text.prefix(8)) }
      #expect(shows == (key == nil))
      #expect(wire.count == 32 + text.count + (key == nil ? 0 : 16))
    }
  }

  /// A message's bytes on the wire, changed in every way that somebody on the way could: none is taken for a message.
  @Test(arguments: [false, true]) func alteredRepeatedReorderedAndCutRecordsAreRefused(isSealed: Bool) throws {
    let key = isSealed ? LinkKey() : nil
    func wire(_ messages: [[UInt8]]) throws -> [[UInt8]] {
      let (near, far) = try StreamSocket.pair()
      let ends = try StreamChannel.ends(near, at: .parameter, capacity: 256, .init(peer: "d0", deadline: 5, key: key))
      return try messages.map { message in
        try send(ends.outgoing, message)
        return drain(far)
      }
    }
    func outcome(_ bytes: [UInt8], count: Int = 1, ends isOver: Bool = false) throws -> (
      got: [[UInt8]], error: ChannelError?
    ) {
      let (near, far) = try StreamSocket.pair()
      let channel = try StreamChannel.ends(
        near, at: .data, capacity: 256, .init(peer: "p", deadline: 0.05, key: key)
      ).incoming
      put(far, bytes)
      if isOver { far.end() }
      var got: [[UInt8]] = []
      do throws(ChannelError) {
        for _ in 0..<count {
          got.append(Array(try channel.receive()))
          try channel.release()
        }
        return (got, nil)
      } catch {
        // It stays closed.
        #expect(throws: ChannelError.self) { try channel.receive() }
        return (got, error)
      }
    }
    let (one, two) = ([UInt8](1...40), [UInt8](100...140))
    let records = try wire([one, two])
    #expect(try outcome(records[0] + records[1], count: 2).got == [one, two])
    for bit in 0..<(8 * records[0].count) {
      var bytes = records[0]
      bytes[bit / 8] ^= 1 << (bit % 8)
      // Behind a plain record's check and a sealed one's number lie bytes that mean nothing where nothing is sealed.
      let (got, error) = try outcome(bytes)
      if isSealed || !(28..<32).contains(bit / 8) { #expect(got.isEmpty && error != nil, "bit \(bit)") }
    }
    let again = try outcome(records[0] + records[0], count: 2)
    #expect(again.got == [one])
    guard case .malformed(_, let reason) = again.error else {
      Issue.record("a repeated record was \(String(describing: again.error))")
      return
    }
    #expect(reason.contains("repeated"))
    #expect(try outcome(records[1]).got.isEmpty)
    #expect(try outcome(records[1] + records[0], count: 2).got.isEmpty)
    for length in stride(from: 1, to: records[0].count, by: 7) {
      let cut = try outcome(Array(records[0].prefix(length)), ends: true)
      #expect(cut.got.isEmpty && cut.error == .closed(peer: "p"), "cut at \(length)")
      #expect(try outcome(Array(records[0].prefix(length))).error == .timedOut(peer: "p", seconds: 0.05))
    }
  }

  @Test func anotherKeyOrNoneIsRefused() throws {
    for (key, other) in [(LinkKey(), LinkKey()), (LinkKey(), nil), (nil, LinkKey())] as [(LinkKey?, LinkKey?)] {
      let (near, far) = try StreamSocket.pair()
      let mine = try StreamChannel.ends(near, at: .parameter, capacity: 64, .init(peer: "d0", deadline: 1, key: key))
      let theirs = try StreamChannel.ends(far, at: .data, capacity: 64, .init(peer: "p", deadline: 1, key: other))
      try send(mine.outgoing, [1, 2, 3])
      #expect { try theirs.incoming.receive() } throws: { if case ChannelError.malformed = $0 { true } else { false } }
    }
    // The same direction read as the other one: a message cannot be sent back to who wrote it.
    let key = LinkKey()
    let (near, far) = try StreamSocket.pair()
    let mine = try StreamChannel.ends(near, at: .parameter, capacity: 64, .init(peer: "d0", deadline: 1, key: key))
    let mirror = try StreamChannel.ends(far, at: .parameter, capacity: 64, .init(peer: "d0", deadline: 1, key: key))
    try send(mine.outgoing, [1, 2, 3])
    #expect { try mirror.incoming.receive() } throws: { if case ChannelError.malformed = $0 { true } else { false } }
  }

  @Test func randomBytesAreNeverAMessage() throws {
    var random = SystemRandomNumberGenerator()
    for key in [nil, LinkKey()] {
      for _ in 0..<300 {
        let (near, far) = try StreamSocket.pair()
        let channel = try StreamChannel.ends(
          near, at: .data, capacity: 4096, .init(peer: "p", deadline: 0.02, key: key)
        ).incoming
        put(far, (0..<Int.random(in: 1...500)).map { _ in UInt8.random(in: 0...255, using: &random) })
        far.end()
        #expect(throws: ChannelError.self) { try channel.receive() }
      }
    }
  }

  @Test func deadlinesAndEndsAreKept() throws {
    let pair = try StreamPair(capacity: 1 << 20, deadline: 0.05)
    #expect(try !pair.data.incoming.hasMessage(within: 0.01))
    #expect(throws: ChannelError.timedOut(peer: "the parameter worker", seconds: 0.05)) {
      try pair.data.incoming.receive()
    }
    #expect(throws: ChannelError.tooLong(peer: "d0", byteCount: 1 << 21, capacity: 1 << 20)) {
      try pair.parameter.outgoing.reserve(1 << 21)
    }
    // Nobody reads: what the system takes is soon full.
    #expect(throws: ChannelError.timedOut(peer: "d0", seconds: 0.05)) {
      for _ in 0..<100 { try send(pair.parameter.outgoing, [UInt8](repeating: 7, count: 1 << 20)) }
    }
    let other = try StreamPair(capacity: 64)
    try send(other.parameter.outgoing, [9])
    other.parameter.outgoing.close()
    // What was written before the end is read.
    #expect(try take(other.data.incoming) == [9])
    #expect(throws: ChannelError.closed(peer: "the parameter worker")) { try other.data.incoming.receive() }
    #expect(throws: ChannelError.closed(peer: "the parameter worker")) { try other.data.incoming.hasMessage(within: 1) }
  }

  final class Gone: PeerWatch {
    let hasEnded = true
  }

  @Test func aPeerWhoseHostVanishedIsNotWaitedFor() throws {
    let (near, _far) = try StreamSocket.pair()
    let ends = try StreamChannel.ends(
      near, at: .parameter, capacity: 64, .init(peer: "d0", deadline: 3600, key: nil, watch: Gone()))
    #expect(throws: ChannelError.closed(peer: "d0")) { try ends.incoming.receive() }
    withExtendedLifetime(_far) {}
  }

  @Test func aPlainChannelAllocatesNothing() throws {
    let pair = try StreamPair(capacity: 100_000)
    func exchange() throws {
      for count in [100, 60_000, 90_000] {
        _ = try pair.parameter.outgoing.reserve(count)
        try pair.parameter.outgoing.send(count)
        _ = try pair.data.incoming.receive()
        try pair.data.incoming.release()
      }
    }
    try exchange()
    let before = allocation_count()
    for _ in 0..<20 { try exchange() }
    #expect(allocation_count() - before == 0)
  }
}
