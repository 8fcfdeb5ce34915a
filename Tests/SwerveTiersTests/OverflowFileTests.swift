import Glibc
import SwerveCore
import SwerveTiers
import Synchronization
import Testing

/// A file in memory whose calls can be made to fail, to wait, or to give other bytes back.
final class MemoryMedium: OverflowMedium {
  private struct State {
    var bytes: [UInt8] = []
    var failsWrites = false
    var failsReads = false
  }

  private let state = Mutex(State())
  /// Held while calls must wait.
  let gate = Mutex(())

  var bytes: [UInt8] {
    get { state.withLock { $0.bytes } }
    set { state.withLock { $0.bytes = newValue } }
  }
  func failWrites(_ fails: Bool) { state.withLock { $0.failsWrites = fails } }
  func failReads(_ fails: Bool) { state.withLock { $0.failsReads = fails } }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileFailure) {
    gate.withLock { _ in }
    let isWritten = state.withLock { state in
      if state.failsWrites { return false }
      let end = offset + bytes.count
      if state.bytes.count < end { state.bytes += [UInt8](repeating: 0, count: end - state.bytes.count) }
      for (place, byte) in bytes.enumerated() { state.bytes[offset + place] = byte }
      return true
    }
    if !isWritten { throw FileFailure(code: ENOSPC) }
  }

  func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileFailure) {
    gate.withLock { _ in }
    let isRead = state.withLock { state in
      if state.failsReads || offset + bytes.count > state.bytes.count { return false }
      bytes.copyBytes(from: state.bytes[offset..<offset + bytes.count])
      return true
    }
    if !isRead { throw FileFailure(code: EIO) }
  }
}

/// Staging memory of a test. A place is touched by whoever the protocol says it belongs to, and by nobody else.
final class TestStaging: StagingPlaces {
  let placeCount: Int
  let pieceBytes: Int
  nonisolated(unsafe) private let memory: UnsafeMutableRawPointer

  init(places: Int, pieceBytes: Int) {
    placeCount = places
    self.pieceBytes = pieceBytes
    memory = .allocate(byteCount: places * pieceBytes, alignment: 64)
    memset(memory, 0xEE, places * pieceBytes)
  }

  deinit { memory.deallocate() }

  func piece(_ place: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: memory + place * pieceBytes, count: pieceBytes)
  }
}

@Suite struct OverflowFileTests {
  private static let shape = OverflowConfiguration.Shape(placeCount: 12, layerCount: 3, pieceBytes: 640)

  private func file(
    _ medium: any OverflowMedium, readers: Int = 2, behind: Int = 4, deadline: Double = 30
  ) throws -> OverflowFile {
    var configuration = OverflowFile.Configuration()
    configuration.readerCount = readers
    configuration.writesBehind = behind
    configuration.deadline = deadline
    return try OverflowFile(Self.shape, medium: medium, configuration: configuration)
  }

  private func write(_ number: Int, to place: Int, of file: OverflowFile) {
    file.write(place) { $0.copyBytes(from: content(number, count: Self.shape.blockBytes)) }
  }

  /// The layer's bytes, or nil when they cannot be had.
  private func read(_ place: Int, layer: Int, of file: OverflowFile, _ staging: TestStaging, at: Int = 0) -> [UInt8]? {
    file.read(place, layer: layer, into: at, of: staging)
    return file.wait(at) ? Array(staging.piece(at)) : nil
  }

  private func piece(_ number: Int, _ layer: Int) -> [UInt8] {
    Array(content(number, count: Self.shape.blockBytes)[(layer * 640)..<((layer + 1) * 640)])
  }

  /// Waits until all writes so far are in the medium.
  private func settle(_ file: OverflowFile, blocks: Int) {
    let bytes = blocks * OverflowFile.placeBytes(layerCount: 3, pieceBytes: 640)
    while file.traffic.writtenBytes < bytes && file.traffic.failedWrites == 0 { usleep(1000) }
  }

  @Test func whatIsWrittenComesBackLayerByLayer() throws {
    let folder = try TemporaryFolder()
    let file = try OverflowFile(Self.shape, folder: folder.path + "/kv")
    let staging = TestStaging(places: 8, pieceBytes: 640)
    #expect(read(3, layer: 0, of: file, staging) == nil, "never written")
    for place in 0..<12 { write(place, to: place, of: file) }
    // At once: from the copies of writes that are under way.
    for place in 0..<12 { #expect(read(place, layer: 2, of: file, staging) == piece(place, 2)) }
    settle(file, blocks: 12)
    #expect(file.traffic.writtenBytes == 12 * 3 * (640 + 28))
    for place in 0..<12 {
      for layer in 0..<3 { #expect(read(place, layer: layer, of: file, staging) == piece(place, layer)) }
    }
    // Several at a time, waited for in another order.
    for place in 0..<8 { file.read(place, layer: 1, into: place, of: staging) }
    for place in (0..<8).reversed() {
      #expect(file.wait(place))
      #expect(Array(staging.piece(place)) == piece(place, 1))
    }
    #expect(file.traffic.failedReads == 1 && file.traffic.failedWrites == 0)
    // Nobody finds it by a name.
    let names = try PosixFileSystem().list(folder.path + "/kv")
    #expect(names.isEmpty)
  }

  @Test func theLastWriteCounts() throws {
    let file = try file(MemoryMedium())
    let staging = TestStaging(places: 1, pieceBytes: 640)
    var random = SeededRandom(seed: 5)
    var latest = [Int](repeating: -1, count: 12)
    for number in 0..<2_000 {
      let place = Int.random(in: 0..<12, using: &random)
      if Bool.random(using: &random) {
        write(number, to: place, of: file)
        latest[place] = number
      } else {
        let layer = Int.random(in: 0..<3, using: &random)
        let expected = latest[place] < 0 ? nil : piece(latest[place], layer)
        #expect(read(place, layer: layer, of: file, staging) == expected)
      }
    }
  }

  @Test func everyBitOfAPieceIsGuarded() throws {
    let medium = MemoryMedium()
    let file = try file(medium)
    let staging = TestStaging(places: 1, pieceBytes: 640)
    write(1, to: 0, of: file)
    settle(file, blocks: 1)
    let bytes = medium.bytes
    for place in 0..<(640 + 28) {
      var damaged = bytes
      damaged[place] ^= UInt8(1 << (place % 8))
      medium.bytes = damaged
      #expect(read(0, layer: 0, of: file, staging) == nil, "byte \(place) may be anything")
      #expect(read(0, layer: 1, of: file, staging) == piece(1, 1), "other layers are as they were")
    }
    medium.bytes = bytes
    #expect(read(0, layer: 0, of: file, staging) == piece(1, 0))
  }

  @Test func anotherPlacesLayersOrOldBytesAreNoBlock() throws {
    let medium = MemoryMedium()
    let file = try file(medium)
    let staging = TestStaging(places: 1, pieceBytes: 640)
    write(1, to: 0, of: file)
    write(2, to: 1, of: file)
    settle(file, blocks: 2)
    let old = medium.bytes
    let stride = 640 + 28, block = 3 * stride
    medium.bytes = Array(old[block..<(2 * block)]) + Array(old[0..<block])
    #expect(read(0, layer: 0, of: file, staging) == nil, "another place")
    medium.bytes = Array(old[stride..<(2 * stride)]) + Array(old[0..<stride]) + Array(old[(2 * stride)...])
    #expect(read(0, layer: 0, of: file, staging) == nil, "another layer")
    medium.bytes = old
    write(3, to: 0, of: file)
    settle(file, blocks: 3)
    #expect(read(0, layer: 0, of: file, staging) == piece(3, 0))
    medium.bytes = old
    #expect(read(0, layer: 0, of: file, staging) == nil, "what was there before")
  }

  @Test func nothingInTheFileTellsItsContent() throws {
    let medium = MemoryMedium()
    let file = try file(medium)
    for place in 0..<12 { file.write(place) { $0.copyBytes(from: [UInt8](repeating: 0x41, count: $0.count)) } }
    settle(file, blocks: 12)
    let bytes = medium.bytes
    var counts = [Int](repeating: 0, count: 256)
    for byte in bytes { counts[Int(byte)] += 1 }
    // 24,048 bytes: about 94 of each value.
    #expect(counts.allSatisfy { $0 > 40 && $0 < 160 })
  }

  @Test func aFullOrFailingDiskLosesBlocksAndNothingElse() throws {
    let medium = MemoryMedium()
    let file = try file(medium)
    let staging = TestStaging(places: 1, pieceBytes: 640)
    write(1, to: 0, of: file)
    settle(file, blocks: 1)
    medium.failWrites(true)
    write(2, to: 1, of: file)
    while file.traffic.failedWrites == 0 { usleep(1000) }
    #expect(read(1, layer: 0, of: file, staging) == nil)
    #expect(read(0, layer: 0, of: file, staging) == piece(1, 0))
    medium.failWrites(false)
    write(3, to: 1, of: file)
    #expect(read(1, layer: 0, of: file, staging) == piece(3, 0))
    settle(file, blocks: 2)
    medium.failReads(true)
    #expect(read(0, layer: 0, of: file, staging) == nil)
    medium.failReads(false)
    #expect(read(0, layer: 0, of: file, staging) == piece(1, 0))
  }

  @Test func aDiskThatHangsIsWaitedForUntilTheDeadline() throws {
    let medium = MemoryMedium()
    let file = try file(medium, readers: 1, behind: 2, deadline: 0.05)
    let staging = TestStaging(places: 2, pieceBytes: 640)
    write(1, to: 0, of: file)
    write(2, to: 1, of: file)
    settle(file, blocks: 2)
    medium.gate.withLock { _ in
      #expect(read(0, layer: 0, of: file, staging) == nil)
      // Two writes go behind, the third finds no room.
      for place in 2..<5 { write(place, to: place, of: file) }
      #expect(file.traffic.failedWrites == 1)
    }
    // The late read has ended somewhere; what it brought is not where the next one's piece is.
    for _ in 0..<50 where read(1, layer: 1, of: file, staging) == nil { usleep(1000) }
    #expect(read(1, layer: 1, of: file, staging) == piece(2, 1))
    #expect(read(4, layer: 0, of: file, staging) == nil, "it was never written")
  }
}
