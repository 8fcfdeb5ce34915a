import Crypto
import SwerveCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension FileTier {
  /// Seals a block into a file, evicting others when the tier is full. Waits for the disk.
  ///
  /// `bytes`: `blockBytes` in the device's layout. `isLossy`: they went through a lower precision before. `reloadCost`:
  /// what bringing the block back by other means would cost, for the `cost` policy.
  package func store(
    _ identity: BlockIdentity, from bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool
  ) -> StoreOutcome {
    guard fits(identity), bytes.count == configuration.blockBytes else { return refuse(.wrongShape) }
    if !state.withLock({ $0.health.mayWrite(now: clock()) }) { return refuse(.readOnly) }
    let begin = clock()
    do throws(FileFailure) {
      guard let key = try keys.makeKey(of: identity.scope.tenant) else {
        state.withLock { $0.health.writeGivenUp() }
        return refuse(.noKey)
      }
      return try write(identity, key: key, bytes, reloadCost: reloadCost, isLossy: isLossy, begin: begin)
    } catch {
      let isFull = [ENOSPC, EDQUOT, EFBIG].contains(error.code)
      state.withLock { state in
        state.statistics.writeFailures += 1
        state.health.writeFailed(isFull: isFull, now: clock())
      }
      return refuse(isFull ? .diskFull : .failure(errno: error.code))
    }
  }

  private func write(
    _ identity: BlockIdentity, key: TenantKey, _ bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool,
    begin: Double
  ) throws(FileFailure) -> StoreOutcome {
    let name = key.name(of: identity)
    let recordBytes = configuration.recordBytes
    let largest = BlockHeader.fileBytes(payload: recordBytes + configuration.blockBytes)
    let result: Result<StoreOutcome, FileFailure> = withScratch(largest) { scratch in
      // The block first: its precision decides how large the file is. It stands at the end, to be sealed towards the front.
      var precision = configuration.precision
      var payloadBytes = precision == .exact ? bytes.count : configuration.layout?.byteCount(precision) ?? bytes.count
      func fileBytes() -> Int { BlockHeader.fileBytes(payload: recordBytes + payloadBytes) }
      func body() -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: scratch[fileBytes() - payloadBytes..<fileBytes()])
      }
      if let conversion, !conversion.encode(bytes, into: body()) {
        precision = .exact
        payloadBytes = bytes.count
      }
      if precision == .exact { body().copyMemory(from: bytes) }
      let plaintextBytes = recordBytes + payloadBytes
      let file = UnsafeMutableRawBufferPointer(rebasing: scratch[..<fileBytes()])
      PayloadRecord.write(
        identity, payloadBytes: payloadBytes,
        to: UnsafeMutableRawBufferPointer(rebasing: file[file.count - plaintextBytes..<file.count - payloadBytes]))

      let plan = state.withLock { state -> WritePlan in
        if state.index.use(name) != nil || state.index.isWriting(name) {
          state.health.writeGivenUp()
          return .present
        }
        guard let victims = state.index.begin(name, byteCount: file.count) else {
          state.health.writeGivenUp()
          return .noRoom
        }
        defer { state.nextGeneration += 1 }
        return .write(generation: state.nextGeneration, victims: victims)
      }
      guard case .write(let generation, let victims) = plan else {
        return .success(plan == .present ? .present : refuse(.noRoom))
      }
      unlink(victims)
      let header = BlockHeader(
        model: configuration.model, precision: precision, elementCode: configuration.elementType.code,
        isLossy: isLossy || precision.isLossy, isEphemeral: keys.isEphemeral,
        layerCount: UInt32(configuration.layerCount), tokenCount: UInt32(configuration.blockTokens),
        reloadCost: Float(reloadCost), generation: generation, keyID: key.id, name: name,
        payloadBytes: UInt64(plaintextBytes))
      do throws(FileFailure) {
        try writeFile(header, file, key: key.data)
      } catch {
        state.withLock { $0.index.end(name, nil) }
        // An evicted file of the same block, whose removal left it to us.
        unlink([name])
        return .failure(error)
      }
      state.withLock { state in
        state.index.end(
          name,
          FileIndex.Entry(
            name: name, keyID: key.id, byteCount: file.count, generation: generation,
            costPerByte: reloadCost / Double(file.count)))
        state.statistics.insertions += 1
        state.statistics.bytesWritten += file.count
        state.health.wrote(seconds: clock() - begin, now: clock())
      }
      return .success(.stored(fileBytes: file.count))
    }
    return try result.get()
  }

  /// Seals the plaintext at the end of `file` and writes all of it.
  private func writeFile(
    _ header: BlockHeader, _ file: UnsafeMutableRawBufferPointer, key: SymmetricKey
  ) throws(FileFailure) {
    let parts = SealedFile(file)
    header.write(to: file)
    PieceCipher.makeNonce(parts.nonce)
    PieceCipher.seal(
      parts.payload, plaintextBytes: Int(header.payloadBytes), nonce: UnsafeRawBufferPointer(parts.nonce),
      header: parts.header, key: key)
    try files.replace(
      path(header.name), temporary: "\(configuration.folder)/incoming/\(header.name.hexadecimal).\(header.generation)",
      synchronizes: configuration.synchronizesBlocks, UnsafeRawBufferPointer(file))
  }

  /// Reads a block back: all of `blockBytes` in the device's layout, or a miss with `bytes` undefined. Waits for the disk.
  package func load(_ identity: BlockIdentity, into bytes: UnsafeMutableRawBufferPointer) -> LoadOutcome {
    guard fits(identity), bytes.count == configuration.blockBytes else { return miss(.otherShape) }
    guard let key = keys.key(of: identity.scope.tenant) else { return miss(.noKey) }
    let name = key.name(of: identity)
    let entry = state.withLock { $0.health.mayRead ? $0.index.use(name) : nil }
    guard let entry else { return miss(.absent) }
    let begin = clock()
    do throws(FileFailure) {
      let outcome = try read(identity, name: name, entry: entry, key: key, into: bytes)
      state.withLock { state in
        state.health.didRead(seconds: clock() - begin)
        if case .hit = outcome {
          state.statistics.hits += 1
          state.statistics.bytesRead += entry.byteCount
        }
      }
      if case .miss(let reason) = outcome { return discard(name, entry.generation, reason) }
      return outcome
    } catch {
      // Removed by somebody else: not the disk's fault.
      if error.code == ENOENT { return discard(name, entry.generation, .absent) }
      state.withLock { state in
        state.statistics.readFailures += 1
        state.health.readFailed()
      }
      return miss(.failure(errno: error.code))
    }
  }

  private func read(
    _ identity: BlockIdentity, name: ShortDigest, entry: FileIndex.Entry, key: TenantKey,
    into target: UnsafeMutableRawBufferPointer
  ) throws(FileFailure) -> LoadOutcome {
    let file = try files.openForReading(path(name))
    defer { try? files.close(file.descriptor) }
    guard file.byteCount == entry.byteCount else { return .miss(.damaged) }
    let largest = BlockHeader.fileBytes(payload: configuration.recordBytes + configuration.blockBytes)
    guard file.byteCount <= largest else { return .miss(.damaged) }
    let result: Result<LoadOutcome, FileFailure> = withScratch(file.byteCount) { scratch in
      do throws(FileFailure) {
        guard try files.fill(scratch, from: file.descriptor, at: 0) else { return .success(.miss(.damaged)) }
      } catch { return .failure(error) }
      return .success(verify(identity, name: name, entry: entry, key: key, scratch, into: target))
    }
    let outcome = try result.get()
    // Only so that the order survives a restart; a failure costs nothing else.
    if case .hit = outcome, !configuration.isReadOnly { try? files.touch(file.descriptor) }
    return outcome
  }

  /// Everything that a file must be before its bytes are believed.
  private func verify(
    _ identity: BlockIdentity, name: ShortDigest, entry: FileIndex.Entry, key: TenantKey,
    _ file: UnsafeMutableRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) -> LoadOutcome {
    guard let header = BlockHeader(reading: UnsafeRawBufferPointer(file)), header.fileBytes == UInt64(file.count) else {
      return .miss(.damaged)
    }
    if header.generation != entry.generation { return .miss(.stale) }
    if header.keyID != key.id { return .miss(.foreignKey) }
    if header.model != configuration.model { return .miss(.otherModel) }
    guard header.name == name, header.elementCode == configuration.elementType.code,
      header.layerCount == UInt32(configuration.layerCount), header.tokenCount == UInt32(configuration.blockTokens)
    else { return .miss(.otherShape) }
    let conversion: PrecisionConversion?
    if header.precision == .exact {
      conversion = nil
    } else {
      guard let layout = configuration.layout else { return .miss(.otherShape) }
      conversion = PrecisionConversion(layout: layout, precision: header.precision)
    }
    let payloadBytes = conversion?.byteCount ?? configuration.blockBytes
    let recordBytes = configuration.recordBytes
    guard header.payloadBytes == UInt64(recordBytes + payloadBytes) else { return .miss(.otherShape) }
    let parts = SealedFile(file)
    // Plaintext takes the place of its ciphertext, which was read before; exact blocks go on to where they belong.
    let inPlace = conversion == nil ? recordBytes : recordBytes + payloadBytes
    let isSealed = PieceCipher.open(
      parts.payload, plaintextBytes: recordBytes + payloadBytes, nonce: UnsafeRawBufferPointer(parts.nonce),
      header: parts.header, key: key.data
    ) { piece, offset in
      let kept = max(0, min(piece.count, inPlace - offset))
      if kept > 0 {
        UnsafeMutableRawBufferPointer(rebasing: parts.payload[offset..<offset + kept])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[..<kept]))
      }
      if kept < piece.count {
        let begin = offset + kept - recordBytes
        UnsafeMutableRawBufferPointer(rebasing: target[begin..<begin + piece.count - kept])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece[kept...]))
      }
    }
    guard isSealed else { return .miss(.damaged) }
    let plaintext = UnsafeRawBufferPointer(rebasing: parts.payload[..<inPlace])
    guard PayloadRecord.matches(identity, payloadBytes: payloadBytes, plaintext) else { return .miss(.otherBlock) }
    conversion?.decode(UnsafeRawBufferPointer(rebasing: plaintext[recordBytes...]), into: target)
    return .hit(isLossy: header.isLossy)
  }

  private var conversion: PrecisionConversion? {
    guard configuration.precision != .exact, let layout = configuration.layout else { return nil }
    return PrecisionConversion(layout: layout, precision: configuration.precision)
  }

  private func fits(_ identity: BlockIdentity) -> Bool {
    identity.scope.model == configuration.model && identity.scope.elementType == configuration.elementType
      && identity.scope.layerCount == configuration.layerCount
      && identity.scope.blockTokens == configuration.blockTokens
  }

  private func miss(_ reason: MissReason) -> LoadOutcome {
    state.withLock { $0.statistics.misses += 1 }
    return .miss(reason)
  }

  /// A miss that the file will always be: forget it, and remove it unless the tier is only read.
  private func discard(_ name: ShortDigest, _ generation: UInt64, _ reason: MissReason) -> LoadOutcome {
    let isGone = state.withLock { state in
      if reason != .absent { state.statistics.verifyFailures[reason, default: 0] += 1 }
      return state.index.remove(name, generation: generation)
    }
    if isGone { unlink([name]) }
    return miss(reason)
  }

  private func refuse(_ reason: StoreRefusal) -> StoreOutcome {
    state.withLock { $0.statistics.refusals += 1 }
    return .refused(reason)
  }
}

/// The parts of a block file in memory.
private struct SealedFile {
  /// All but the nonce.
  let header: UnsafeRawBufferPointer
  let nonce, payload: UnsafeMutableRawBufferPointer

  init(_ file: UnsafeMutableRawBufferPointer) {
    header = UnsafeRawBufferPointer(rebasing: file[..<BlockHeader.nonceOffset])
    nonce = UnsafeMutableRawBufferPointer(rebasing: file[BlockHeader.nonceOffset..<BlockHeader.byteCount])
    payload = UnsafeMutableRawBufferPointer(rebasing: file[BlockHeader.byteCount...])
  }
}

/// What to do about a block to be written.
private enum WritePlan: Equatable {
  case present
  case noRoom
  case write(generation: UInt64, victims: [ShortDigest])
}
