import SwerveCore
import SwerveHardware
import Synchronization
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// Rings of buffers over sources that a test controls.
@Suite struct GatherRingTests {
  /// Byte at a place of the source.
  static func byte(_ offset: Int) -> UInt8 { UInt8(truncatingIfNeeded: offset &* 31 &+ offset >> 12) }

  /// Bytes that follow from their place; some reads fail or wait.
  final class Source: GatherSource {
    struct State {
      var reads = 0
      /// Offsets of items that fail so many times.
      var failures: [Int: Int] = [:]
      /// Reads that begin there wait until this is emptied.
      var held: Set<Int> = []
    }
    let state = Mutex(State())

    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int, needed: Int) throws(GatherError) {
      while state.withLock({ $0.held.contains(offset) }) { usleep(200) }
      let fails = state.withLock { state in
        state.reads += 1
        guard let left = state.failures[offset], left > 0 else { return false }
        state.failures[offset] = left - 1
        return true
      }
      if fails { throw GatherError("byte \(offset) is gone") }
      for place in 0..<needed { bytes[place] = GatherRingTests.byte(offset + place) }
    }
  }

  static func device() throws -> CPUDevice {
    try CPUDevice(configuration: CPUConfiguration(threadCount: 1, isPinned: false))
  }

  static func ring(
    _ source: any GatherSource, count: Int = 5, tail: Int = 2, byteCount: Int = 10_000, depth: Int = 2,
    readers: Int = 3, deadline: Double = 20
  ) throws -> GatherRing {
    var configuration = GatherRing.Configuration()
    configuration.depth = depth
    configuration.readerCount = readers
    configuration.pieceBytes = 4096
    configuration.deadline = deadline
    let items = (0..<count).map { GatherItem(offset: $0 * 16_384, byteCount: byteCount - $0) }
    return try GatherRing(
      items: items, tailCount: tail, slotBytes: GatherItem.bufferBytes(byteCount), sources: [source], device: device(),
      configuration: configuration)
  }

  /// Takes an item and looks at all its bytes.
  static func check(_ ring: GatherRing, _ item: Int) throws {
    let slot = try ring.take(item)
    let weight = try PackedWeight(
      viewing: PackedShape(
        format: .plain(.float32), layout: .stacked, outputs: 16, inputs: 64, segments: 1, hasBias: false),
      type: .float32, memory: ring.memory, numbers: slot * ring.slotBytes, bias: nil)
    let isRight = weight.withBytes { bytes, _ in
      (0..<bytes.count).allSatisfy { bytes[$0] == byte(item * 16_384 + $0) }
    }
    #expect(isRight, "item \(item)")
    ring.giveBack()
  }

  @Test(arguments: [1, 2, 4, 9]) func `items come in order, with the tail as often as was said`(depth: Int) throws {
    let ring = try Self.ring(Source(), depth: depth)
    var taken = 0
    var wasted: [Int] = []
    for round in 0..<30 {
      let passes = round < 15 ? 1 : 2
      ring.begin(tailPasses: passes)
      for item in [0, 1, 2] { try Self.check(ring, item) }
      for _ in 0..<passes { for item in [3, 4] { try Self.check(ring, item) } }
      taken += 3 + 2 * passes
      wasted.append(ring.traffic.wastedItems)
    }
    let traffic = ring.traffic
    #expect(traffic.readBytes >= taken * 9_996 && traffic.failedItems == 0)
    // Nothing is fetched in vain but when rounds change their length.
    #expect(wasted[14] == 0 && wasted[20] == wasted[29], "\(wasted)")
    #expect(ring.slotCount == depth + 1)
  }

  @Test func `rounds without the tail, and any other order, are served too`() throws {
    let ring = try Self.ring(Source())
    ring.begin(tailPasses: 0)
    for _ in 0..<3 { for item in [0, 1, 2] { try Self.check(ring, item) } }
    var random = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      let item = Int.random(in: 0..<5, using: &random)
      if Bool.random(using: &random) { ring.begin(tailPasses: Int.random(in: 0..<3, using: &random)) }
      try Self.check(ring, item)
    }
    #expect(ring.traffic.wastedItems > 0)
  }

  @Test func `a failed item says why, and comes when it can be read again`() throws {
    let source = Source()
    source.state.withLock { $0.failures[16_384 + 4096] = 2 }
    let ring = try Self.ring(source)
    ring.begin(tailPasses: 1)
    try Self.check(ring, 0)
    var sentences: [String] = []
    for _ in 0..<2 {
      do { _ = try ring.take(1) } catch { sentences.append("\(error)") }
    }
    #expect(sentences == ["byte 20480 is gone", "byte 20480 is gone"])
    for item in [1, 2, 3, 4, 0] { try Self.check(ring, item) }
    #expect(ring.traffic.failedItems == 2)
  }

  @Test func `a read that does not end is given up at the deadline, and its buffer is not used before it ends`() throws
  {
    let source = Source()
    source.state.withLock { $0.held = [16_384] }
    let ring = try Self.ring(source, depth: 1, readers: 2, deadline: 0.2)
    try Self.check(ring, 0)
    #expect(throws: GatherError.self) { _ = try ring.take(1) }
    source.state.withLock { $0.held = [] }
    for item in [2, 3, 4, 0, 1, 2] { try Self.check(ring, item) }
    #expect(ring.traffic.stallNanoseconds > 0 && ring.traffic.lateItems > 0)
  }

  // MARK: Files

  /// A file of `count` bytes in the folder, which the caller removes.
  static func file(in folder: String, count: Int) -> String {
    var template = Array("\(folder)/swerve-gather-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    let bytes = (0..<count).map { byte($0) }
    #expect(write(descriptor, bytes, count) == count)
    fsync(descriptor)
    close(descriptor)
    return template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  /// Where direct reads work and where they may not.
  static let folders: [String] = ["/tmp", "/dev/shm"].filter { (folder: String) in access(folder, W_OK) == 0 }

  @Test(arguments: folders) func `a file is read past and through the page cache`(folder: String) throws {
    let path = Self.file(in: folder, count: 5 * 16_384 - 5000)
    defer { unlink(path) }
    for caching in [GatherFile.Caching.bypassed, .kept] {
      let ring = try Self.ring(try GatherFile(path: path, caching: caching))
      ring.begin(tailPasses: 1)
      for _ in 0..<3 { for item in 0..<5 { try Self.check(ring, item) } }
    }
  }

  @Test func `a file that ends too soon is told of in one sentence`() throws {
    let path = Self.file(in: "/tmp", count: 4 * 16_384 + 3)
    defer { unlink(path) }
    let ring = try Self.ring(try GatherFile(path: path, caching: .bypassed))
    ring.begin(tailPasses: 1)
    for item in 0..<4 { try Self.check(ring, item) }
    do {
      _ = try ring.take(4)
      Issue.record("a cut file was read")
    } catch { #expect("\(error)".contains(path) && "\(error)".contains("ends at byte")) }
    #expect(throws: GatherError.self) { try GatherFile(path: "/tmp/no/such/file", caching: .kept) }
  }

  /// A source that failed and is there again: what was fetched ahead in vain is not told of later.
  @Test func `a ring that is restarted forgets what failed`() throws {
    let source = Source()
    source.state.withLock { $0.failures = [0: 9, 16_384: 9, 32_768: 9] }
    let ring = try Self.ring(source)
    #expect(throws: GatherError.self) { _ = try ring.take(0) }
    source.state.withLock { $0.failures = [:] }
    ring.restart()
    for round in 0..<3 {
      ring.begin(tailPasses: 1)
      for item in 0..<5 { try Self.check(ring, item) }
      if round == 1 { ring.restart() }
    }
  }
}
