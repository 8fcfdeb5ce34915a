import SwerveCore

// Control messages as bytes: a kind, fields in order, and a hash of it all. Warm: a few of them in a worker's life.
extension ControlMessage {
  private static let magic: UInt32 = 0x5357_4331

  package var bytes: [UInt8] {
    var writer = FieldWriter()
    writer.put(Self.magic)
    switch self {
    case .greet(let greeting):
      writer.put(1 as UInt32)
      greeting.write(to: &writer)
    case .stop: writer.put(2 as UInt32)
    case .open(let offer):
      writer.put(3 as UInt32)
      offer.write(to: &writer)
    case .ready(let answer):
      writer.put(101 as UInt32)
      answer.write(to: &writer)
    case .refused(let reason):
      writer.put(102 as UInt32)
      writer.put(String(reason.prefix(2000)))
    case .opened: writer.put(103 as UInt32)
    }
    var hash = WordHash()
    writer.bytes.withUnsafeBytes { hash.absorb($0) }
    writer.put(hash.value)
    return writer.bytes
  }

  /// Reads a message that somebody of a role sent.
  ///
  /// - Throws: `.refused` for another protocol or one that the role must not send, `.malformed` for what is no message.
  package init(_ bytes: [UInt8], from role: MessageHeader.Role) throws(TransferError) {
    guard bytes.count >= 16 else { throw .malformed("a control message of \(bytes.count) bytes is none") }
    var hash = WordHash()
    bytes.withUnsafeBytes { hash.absorb(UnsafeRawBufferPointer(rebasing: $0[..<(bytes.count - 8)])) }
    var reader = FieldReader(bytes: bytes[..<(bytes.count - 8)])
    var end = FieldReader(bytes: bytes[(bytes.count - 8)...])
    guard try end.u64() == hash.value else { throw .malformed("a control message is damaged") }
    guard try reader.u32() == Self.magic else {
      throw .refused("the other side is no worker of this program, or one of another protocol; use the same program")
    }
    switch try reader.u32() {
    case 1: self = .greet(try WorkerGreeting(&reader))
    case 2: self = .stop
    case 3: self = .open(try LinkOffer(&reader))
    case 101: self = .ready(try WorkerAnswer(&reader))
    case 102: self = .refused(try reader.text())
    case 103: self = .opened
    case let kind: throw .malformed("there is no control message of kind \(kind)")
    }
    guard reader.isAtEnd else { throw .malformed("a control message is longer than its fields") }
    guard sender == role else { throw .refused("a \(role) worker must not send this control message") }
  }
}

extension WorkerGreeting {
  func write(to writer: inout FieldWriter) {
    writer.put(Self.protocolVersion)
    writer.put(version)
    writer.put(fingerprint)
    writer.put(role.rawValue)
    for value in [worker, epoch] { writer.put(value) }
    for text in [type.rawValue, kvType.rawValue, kernels] { writer.put(text) }
    let shares: UInt32 = (sharesCores ? 1 : 0) | (takesTurns ? 2 : 0)
    for value in [threads, shares, headCount, keyValueHeadCount, headDim] { writer.put(value) }
    writer.put(UInt32(windows.count))
    for window in windows { writer.put(window) }
    for value in [limits.rows, limits.sequences, limits.contextTokens, limits.blockTokens, limits.blockCount] {
      writer.put(UInt64(value))
    }
    writer.put(deadline.bitPattern)
    for value in [parts, rowStateBytes] { writer.put(value) }
    writer.put(regionBytes)
    writer.put(UInt64(limits.placeCount))
    writer.put(UInt32(checksContent ? 1 : 0))
    writer.put(UInt32(cpus.count))
    for cpu in cpus { writer.put(cpu) }
  }

  init(_ reader: inout FieldReader) throws(TransferError) {
    let number = try reader.u32()
    guard number == Self.protocolVersion else {
      throw .refused(
        "the parameter worker speaks protocol \(number) and this data worker \(Self.protocolVersion); start both from the "
          + "same program")
    }
    let version = try reader.text()
    let fingerprint = try reader.list()
    guard try reader.u32() == MessageHeader.Role.data.rawValue else {
      throw .refused("a data worker is greeted as something else")
    }
    let (worker, epoch) = (try reader.u32(), try reader.u32())
    guard let type = ElementType(rawValue: try reader.text()), let kvType = KVType(rawValue: try reader.text()) else {
      throw .malformed("a greeting names a type that does not exist")
    }
    let kernels = try reader.text()
    let (threads, shares) = (try reader.u32(), try reader.u32())
    let (heads, keyHeads, dim) = (try reader.u32(), try reader.u32(), try reader.u32())
    let layers = try reader.u32()
    guard (1...4096).contains(threads), (1...1024).contains(layers), (1...1024).contains(heads),
      (1...heads).contains(keyHeads), heads % keyHeads == 0, (2...512).contains(dim)
    else { throw .malformed("a greeting describes a model of \(layers) layers and \(heads) heads, which is none") }
    var windows: [Int?] = []
    for _ in 0..<layers {
      let window = try reader.u32()
      windows.append(window == 0 ? nil : Int(window))
    }
    var numbers: [Int] = []
    for _ in 0..<5 {
      let value = try reader.u64()
      guard (1...1 << 32).contains(value) else { throw .malformed("a greeting's limit of \(value) is none") }
      numbers.append(Int(value))
    }
    var limits = StepMessage.Limits(
      rows: numbers[0], sequences: numbers[1], contextTokens: numbers[2], blockTokens: numbers[3],
      blockCount: numbers[4])
    guard limits.rows <= 1 << 24, limits.sequences <= 1 << 20, limits.contextTokens <= 1 << 30,
      [16, 32, 64, 128].contains(limits.blockTokens), limits.blockCount <= 1 << 30
    else { throw .malformed("a greeting's limits are beyond any worker's") }
    let deadline = Double(bitPattern: try reader.u64())
    guard (1e-3...1e6).contains(deadline) else { throw .malformed("a greeting's deadline of \(deadline) s is none") }
    let (parts, rowStateBytes) = (try reader.u32(), try reader.u32())
    guard (1...256).contains(parts), rowStateBytes < 1 << 24 else {
      throw .malformed(
        "a greeting asks for \(parts) parts of a step and \(rowStateBytes) bytes of a row, which is too much")
    }
    let regionBytes = try reader.u64()
    guard regionBytes < 1 << 56 else { throw .malformed("a greeting's region of \(regionBytes) bytes is none") }
    let places = try reader.u64()
    guard places <= 1 << 30 else { throw .malformed("a greeting's \(places) places are beyond any host's") }
    limits.placeCount = Int(places)
    let checks = try reader.u32()
    let cpuCount = try reader.u32()
    guard cpuCount <= 4096, cpuCount == 0 || cpuCount >= threads else {
      throw .malformed("a greeting gives \(cpuCount) CPUs to \(threads) threads")
    }
    var cpus: [UInt32] = []
    for _ in 0..<cpuCount { cpus.append(try reader.u32()) }
    self.init(
      version: version, fingerprint: fingerprint, worker: Int(worker), epoch: epoch, type: type, kvType: kvType,
      kernels: kernels, threads: Int(threads), sharesCores: shares & 1 != 0, headCount: Int(heads),
      keyValueHeadCount: Int(keyHeads), headDim: Int(dim), windows: windows, limits: limits, deadline: deadline,
      parts: Int(parts), rowStateBytes: Int(rowStateBytes))
    takesTurns = shares & 2 != 0
    self.regionBytes = regionBytes
    self.checksContent = checks != 0
    self.cpus = cpus
  }
}

extension WorkerAnswer {
  func write(to writer: inout FieldWriter) {
    writer.put(version)
    writer.put(fingerprint)
    writer.put(worker)
    writer.put(epoch)
    writer.put(kernels)
    writer.put(kvBytes)
    writer.put(scratchBytes)
    writer.put(device)
  }

  init(_ reader: inout FieldReader) throws(TransferError) {
    version = try reader.text()
    fingerprint = try reader.list()
    worker = try reader.u32()
    epoch = try reader.u32()
    kernels = try reader.text()
    kvBytes = try reader.u64()
    scratchBytes = try reader.u64()
    device = try reader.text()
    guard kvBytes < 1 << 56, scratchBytes < 1 << 56 else { throw .malformed("a worker's sizes are none") }
  }
}

/// Fields one after another, little-endian; texts and lists with their length before them.
struct FieldWriter {
  private(set) var bytes: [UInt8] = []

  mutating func put(_ value: UInt32) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
  mutating func put(_ value: UInt64) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
  mutating func put(_ list: [UInt8]) {
    put(UInt32(list.count))
    bytes += list
  }
  mutating func put(_ text: String) { put(Array(text.utf8)) }
}

struct FieldReader {
  let bytes: ArraySlice<UInt8>
  private var at: Int

  init(bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    at = bytes.startIndex
  }

  var isAtEnd: Bool { at == bytes.endIndex }

  private mutating func take(_ count: Int) throws(TransferError) -> ArraySlice<UInt8> {
    guard count >= 0, count <= bytes.endIndex - at else { throw .malformed("a control message is cut short") }
    defer { at += count }
    return bytes[at..<at + count]
  }

  mutating func u32() throws(TransferError) -> UInt32 {
    try take(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }
  mutating func u64() throws(TransferError) -> UInt64 {
    try take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
  /// At most 4 KiB.
  mutating func list() throws(TransferError) -> [UInt8] {
    let count = try u32()
    guard count <= 4096 else { throw .malformed("a control message's field of \(count) bytes is too long") }
    return Array(try take(Int(count)))
  }
  mutating func text() throws(TransferError) -> String { String(decoding: try list(), as: UTF8.self) }
}
