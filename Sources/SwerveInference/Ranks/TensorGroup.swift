package import SwerveCore
package import SwerveHardware

/// Both directions between two ranks.
package struct RankLink {
  /// The other one's name, for messages.
  package var peer: String
  package var send: any Channel
  package var receive: any Channel

  package init(peer: String, send: any Channel, receive: any Channel) {
    self.peer = peer
    self.send = send
    self.receive = receive
  }
}

/// The tensor ranks of a stage, as one of them sees them: sums over all of them, with the same bits on each.
///
/// A sum over inputs is a fixed tree over up to eight shards of them. Every rank has summed the subtree of its own; here
/// neighbours join their subtrees, then pairs of neighbours theirs: in level l with rank XOR 2^l, both adding the same two
/// numbers. So the order is that of one rank that has everything.
package final class TensorGroup {
  /// [levels] with rank XOR 2^level.
  private var partners: [RankLink]
  private let isExact: Bool
  /// A [R, hidden]: what goes to the other ranks where sums are rounded on the way.
  private let rounded: Tensor?
  private let buffer: BufferBox?
  /// f32 [R, hidden]: this rank's sums.
  package let sums: Tensor
  private let sumsBuffer: BufferBox
  /// Bytes sent, for reports.
  package private(set) var sentBytes = 0

  /// - Parameters:
  ///   - type: in which sums travel where they need not be exact.
  ///   - rows: most rows of a step.
  package init(
    _ shape: RankShape, partners: [RankLink], type: ElementType, rows: Int, columns: Int, device: CPUDevice
  ) throws(HardwareError) {
    precondition(1 << partners.count == shape.tensorSize, "a partner for each level")
    self.partners = partners
    isExact = shape.isExact || type == .float32
    sumsBuffer = BufferBox(try device.allocate(byteCount: rows * columns * 4))
    sums = sumsBuffer.buffer.tensor(.float32, rows: rows, columns: columns)
    if isExact {
      rounded = nil
      buffer = nil
    } else {
      let box = BufferBox(try device.allocate(byteCount: rows * columns * type.byteCount))
      buffer = box
      rounded = box.buffer.tensor(type, rows: rows, columns: columns)
    }
  }

  /// The other ranks were started anew.
  func reconnect(_ partners: [RankLink]) {
    precondition(partners.count == self.partners.count, "a partner for each level")
    self.partners = partners
  }

  /// Bytes `init` allocates.
  static func byteCount(_ shape: RankShape, type: ElementType, rows: Int, columns: Int) -> Int {
    shape.tensorSize == 1 ? 0 : rows * columns * (4 + (shape.isExact || type == .float32 ? 0 : type.byteCount))
  }

  /// `part` (rows of `sums`) becomes the sum over all ranks.
  package func reduce(_ part: Tensor, device: CPUDevice) throws(ChannelError) {
    for partner in partners {
      if let rounded {
        let own = rounded.first(part.rows)
        device.convert(part, into: own)
        device.convert(own, into: part)
        try exchange(own, with: partner) {
          device.add($0, to: $1)
        } into: {
          part.rows($0)
        }
      } else {
        try exchange(part, with: partner) {
          device.add($0, to: $1)
        } into: {
          part.rows($0)
        }
      }
    }
  }

  /// Rows of which every number is zero bits on all ranks but one become the same on all.
  package func join(_ rows: Tensor, device: CPUDevice) throws(ChannelError) {
    for partner in partners {
      try exchange(rows, with: partner) {
        device.merge($0.pointer, into: $1)
      } into: {
        rows.rows($0)
      }
    }
  }

  /// Sends rows in pieces and meets the partner's, one piece after the other: a piece is sent before its place is changed.
  private func exchange(
    _ own: Tensor, with partner: RankLink, _ meet: (Tensor, Tensor) -> Void, into place: (Range<Int>) -> Tensor
  ) throws(ChannelError) {
    let rowBytes = own.columns * own.type.byteCount
    let step = max(1, min(partner.send.capacity, partner.receive.capacity) / rowBytes)
    for first in stride(from: 0, to: own.rows, by: step) {
      let range = first..<min(first + step, own.rows)
      let count = range.count * rowBytes
      try partner.send.reserve(count)
        .copyMemory(from: UnsafeRawBufferPointer(start: own.rows(range).pointer, count: count))
      try partner.send.send(count)
      sentBytes += count
      let received = try partner.receive.receive(byteCount: count, from: partner.peer)
      let theirs = Tensor(
        pointer: UnsafeMutableRawPointer(mutating: received), type: own.type, rows: range.count, columns: own.columns)
      meet(theirs, place(range))
      try partner.receive.release()
    }
  }
}
