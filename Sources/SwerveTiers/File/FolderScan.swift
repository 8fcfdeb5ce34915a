import Dispatch
import Synchronization

/// The index of a folder, read from the headers of its files.
struct FolderScan: Sendable {
  struct Outcome {
    /// From the one that is evicted first to the one that goes last: foreign ones before ours, each by time of last use.
    var entries: [FileIndex.Entry] = []
    var foreignCount = 0
    var removedCount = 0
    var nextGeneration: UInt64 = 1
    var floor: UInt64 = 0
  }

  private struct Found: Sendable {
    var entry: FileIndex.Entry
    var lastUse: Int64
    var isForeign: Bool
  }

  private struct Part: Sendable {
    var found: [Found] = []
    var removed = 0
    var failure: FileFailure?
  }

  let configuration: FileTierConfiguration
  let files: any BlockFileSystem
  /// Ids of the keys we have.
  let keyIDs: Set<ShortDigest>

  /// Lists the 256 folders on all CPUs at once, reads each file's first 128 bytes, and removes what can never be a hit:
  /// temporaries, files that are no block files, stale ones, those of a key that ended with its process. Files of another
  /// model or key stay, to be evicted first: the operator may only have given the wrong key.
  func run() throws -> Outcome {
    var outcome = Outcome()
    do throws(FileFailure) { outcome.floor = try floor() } catch {
      throw FileTier.unusable(configuration.folder + "/floor", error)
    }
    let floor = outcome.floor
    if !configuration.isReadOnly {
      let incoming = configuration.folder + "/incoming"
      for name in (try? files.list(incoming)) ?? [] where (try? files.remove("\(incoming)/\(name)")) != nil {
        outcome.removedCount += 1
      }
    }
    let parts = Mutex<[Part]>([])
    DispatchQueue.concurrentPerform(iterations: 256) { byte in
      let part = scan(FileTier.folder(configuration.folder, of: UInt8(byte)), floor: floor)
      parts.withLock { $0.append(part) }
    }
    var found: [Found] = []
    for part in parts.withLock({ $0 }) {
      if let failure = part.failure { throw FileTier.unusable(configuration.folder + "/blocks", failure) }
      found += part.found
      outcome.removedCount += part.removed
    }
    // The name breaks ties, so that the order does not depend on which thread was first.
    found.sort { a, b in
      if a.isForeign != b.isForeign { return a.isForeign }
      if a.lastUse != b.lastUse { return a.lastUse < b.lastUse }
      return (a.entry.name.low, a.entry.name.high) < (b.entry.name.low, b.entry.name.high)
    }
    outcome.entries = found.map { $0.entry }
    outcome.foreignCount = found.count { $0.isForeign }
    outcome.nextGeneration = max(found.reduce(0) { max($0, $1.entry.generation) } &+ 1, floor, 1)
    return outcome
  }

  private func scan(_ folder: String, floor: UInt64) -> Part {
    var part = Part()
    let names: [String]
    do throws(FileFailure) { names = try files.list(folder) } catch {
      // A folder that is not there holds nothing.
      if error.code != 2 { part.failure = error }
      return part
    }
    withUnsafeTemporaryAllocation(byteCount: BlockHeader.byteCount, alignment: 8) { bytes in
      for file in names {
        let path = "\(folder)/\(file)"
        do throws(FileFailure) {
          if let found = try inspect(path, file: file, floor: floor, bytes) {
            part.found.append(found)
            continue
          }
        } catch {
          // Unreadable now is not unreadable for ever: it stays where it is and is not counted.
          continue
        }
        if !configuration.isReadOnly, (try? files.remove(path)) != nil { part.removed += 1 }
      }
    }
    return part
  }

  /// Nil for a file that can never be a hit.
  private func inspect(
    _ path: String, file name: String, floor: UInt64, _ bytes: UnsafeMutableRawBufferPointer
  ) throws(FileFailure) -> Found? {
    guard name.hasSuffix(".kv"), let digest = ShortDigest(hexadecimal: name.dropLast(3)) else { return nil }
    let file = try files.openForReading(path)
    defer { try? files.close(file.descriptor) }
    guard file.byteCount >= BlockHeader.byteCount, try files.fill(bytes, from: file.descriptor, at: 0),
      let header = BlockHeader(reading: UnsafeRawBufferPointer(bytes)), header.name == digest,
      header.fileBytes == UInt64(file.byteCount), header.generation >= floor, header.generation < .max,
      !header.isEphemeral
    else { return nil }
    let cost = Double(header.reloadCost)
    return Found(
      entry: FileIndex.Entry(
        name: digest, keyID: header.keyID, byteCount: file.byteCount, generation: header.generation,
        costPerByte: cost.isFinite && cost > 0 ? cost / Double(file.byteCount) : 0),
      lastUse: file.lastUse, isForeign: header.model != configuration.model || !keyIDs.contains(header.keyID))
  }

  /// The lowest generation that is not stale.
  private func floor() throws(FileFailure) -> UInt64 {
    do throws(FileFailure) {
      guard let content = try files.contents(of: configuration.folder + "/floor", limit: 32) else { return 0 }
      return UInt64(String(decoding: content.prefix { $0 != 10 }, as: UTF8.self)) ?? 0
    } catch {
      if error.code == 2 { return 0 }
      throw error
    }
  }
}
