// Measures the file tier, and spills until it is killed for the test that kills it. It must not hold anything that the
// product needs.
//
//   tiers-benchmark measure FOLDER [BLOCK_MIB] [BLOCKS]   write and read GB/s: plain files and sealed blocks in turn
//   tiers-benchmark lanes FOLDER [BLOCK_MIB] [BLOCKS] [ROUNDS]   the same through the threads of a lane
//   tiers-benchmark open FOLDER [FILES]                   seconds until a folder of so many files is usable
//   tiers-benchmark spill FOLDER KEY_FILE                 stores blocks 0, 1, 2, … and prints each number when it is kept

import Glibc
import SwerveCore
import SwerveTiers

func fail(_ message: String) -> Never {
  let line = message + "\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
  exit(2)
}

func configuration(folder: String, blockBytes: Int, capacityBytes: Int = 1 << 40) -> FileTierConfiguration {
  FileTierConfiguration(
    folder: folder, capacityBytes: capacityBytes, model: Digest(of: Array("benchmark".utf8)), elementType: .bfloat16,
    layerCount: 2, blockTokens: 16, blockBytes: blockBytes)
}

func identity(_ number: Int) -> BlockIdentity {
  let scope = BlockScope(
    model: Digest(of: Array("benchmark".utf8)), elementType: .bfloat16, layerCount: 2, blockTokens: 16,
    tenant: TenantID())
  return BlockIdentity(scope: scope, tokens: (0..<16).map { TokenID($0 == 0 ? number : $0) })
}

/// Memory with content that no file system can shrink.
func memory(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 4096)
  var state: UInt64 = 0x9E37_79B9_7F4A_7C15
  for offset in stride(from: 0, to: byteCount - 7, by: 8) {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    bytes.storeBytes(of: state, toByteOffset: offset, as: UInt64.self)
  }
  return bytes
}

func writePlain(_ path: String, _ bytes: UnsafeRawBufferPointer, synchronizes: Bool) {
  let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
  var done = 0
  while done < bytes.count {
    let count = write(descriptor, bytes.baseAddress! + done, bytes.count - done)
    if count <= 0 { fail("cannot write \(path)") }
    done += count
  }
  if synchronizes { fsync(descriptor) }
  close(descriptor)
}

func readPlain(_ path: String, _ bytes: UnsafeMutableRawBufferPointer) {
  let descriptor = open(path, O_RDONLY)
  var done = 0
  while done < bytes.count {
    let count = pread(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(done))
    if count <= 0 { fail("cannot read \(path)") }
    done += count
  }
  close(descriptor)
}

/// Asks the page cache to forget a file.
func forget(_ path: String) {
  let descriptor = open(path, O_RDONLY)
  if descriptor < 0 { return }
  fsync(descriptor)
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
  close(descriptor)
}

/// All files under a folder.
func filePaths(_ folder: String) -> [String] {
  let files = PosixFileSystem()
  return (0..<256).flatMap { byte -> [String] in
    let sub = folder + "/blocks/" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    return ((try? files.list(sub)) ?? []).map { sub + "/" + $0 }
  }
}

func measure(folder: String, blockMiB: Int, blocks: Int) throws {
  let blockBytes = blockMiB << 20
  let plainFolder = folder + "/plain"
  try PosixFileSystem().makeFolder(plainFolder)
  let source = memory(blockBytes)
  let target = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 4096)
  func report(_ what: String, _ seconds: Double) {
    print("\(what): \(Double(blockBytes * blocks) / seconds / 1e9) GB/s")
  }
  for synchronizes in [false, true] {
    for round in 0..<3 {
      var settings = configuration(
        folder: folder + "/tier-\(synchronizes)-\(round)", blockBytes: blockBytes)
      settings.synchronizesBlocks = synchronizes
      let tier = try FileTier(settings, master: .ephemeral())
      var plainWrite = 0.0
      var sealedWrite = 0.0
      for number in 0..<blocks {
        let start = monotonicSeconds()
        writePlain("\(plainFolder)/\(number)", UnsafeRawBufferPointer(source), synchronizes: synchronizes)
        let middle = monotonicSeconds()
        let outcome = tier.store(
          identity(number), from: UnsafeRawBufferPointer(source), reloadCost: 1, isLossy: false)
        guard case .stored = outcome else { fail("not stored: \(outcome)") }
        plainWrite += middle - start
        sealedWrite += monotonicSeconds() - middle
      }
      let suffix = synchronizes ? ", on the medium" : ", page cache"
      report("write plain" + suffix, plainWrite)
      report("write sealed" + suffix, sealedWrite)
      for path in filePaths(settings.folder) + (0..<blocks).map({ "\(plainFolder)/\($0)" }) where synchronizes {
        forget(path)
      }
      var plainRead = 0.0
      var sealedRead = 0.0
      for number in 0..<blocks {
        let start = monotonicSeconds()
        readPlain("\(plainFolder)/\(number)", target)
        let middle = monotonicSeconds()
        let outcome = tier.load(identity(number), into: target)
        guard case .hit = outcome else { fail("not found: \(outcome)") }
        plainRead += middle - start
        sealedRead += monotonicSeconds() - middle
      }
      report("read plain" + (synchronizes ? ", from the medium" : suffix), plainRead)
      report("read sealed" + (synchronizes ? ", from the medium" : suffix), sealedRead)
      try tier.removeAll()
    }
  }
}

func measureOpening(folder: String, count: Int) throws {
  let keyFile = folder + ".key"
  let descriptor = open(keyFile, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
  _ = String(repeating: "1f", count: 32).withCString { write(descriptor, $0, 64) }
  close(descriptor)
  let settings = configuration(folder: folder, blockBytes: 64)
  let source = memory(64)
  do {
    let tier = try FileTier(settings, master: MasterKey(file: keyFile))
    let start = monotonicSeconds()
    for number in 0..<count {
      _ = tier.store(identity(number), from: UnsafeRawBufferPointer(source), reloadCost: 1, isLossy: false)
    }
    print("wrote \(tier.blockCount) files in \(monotonicSeconds() - start) s")
  }
  for _ in 0..<3 {
    let start = monotonicSeconds()
    let tier = try FileTier(settings, master: MasterKey(file: keyFile))
    print("opened \(tier.blockCount) files in \(monotonicSeconds() - start) s")
  }
}

func spill(folder: String, keyFile: String) throws {
  let blockBytes = 64 << 10
  let tier = try FileTier(
    configuration(folder: folder, blockBytes: blockBytes), master: MasterKey(file: keyFile))
  let bytes = memory(blockBytes)
  for number in 0..<1_000_000 {
    bytes.storeBytes(of: UInt64(number), as: UInt64.self)
    let outcome = tier.store(identity(number), from: UnsafeRawBufferPointer(bytes), reloadCost: 1, isLossy: false)
    if case .refused(let reason) = outcome { fail("refused: \(reason)") }
    print(number)
    fflush(nil)
  }
}

let arguments = CommandLine.arguments
func number(_ place: Int, _ fallback: Int) -> Int {
  arguments.count > place ? Int(arguments[place]) ?? fallback : fallback
}

do {
  switch arguments.count > 2 ? arguments[1] : "" {
  case "measure": try measure(folder: arguments[2], blockMiB: number(3, 4), blocks: number(4, 64))
  case "lanes":
    try measureLanes(
      folder: arguments[2], blockMiB: number(3, 4), blocks: number(4, 64), rounds: max(1, number(5, 5)))
  case "open": try measureOpening(folder: arguments[2], count: number(3, 100_000))
  case "spill" where arguments.count == 4: try spill(folder: arguments[2], keyFile: arguments[3])
  default: fail("usage: tiers-benchmark measure|lanes|open|spill FOLDER …")
  }
} catch {
  fail("\(error)")
}
