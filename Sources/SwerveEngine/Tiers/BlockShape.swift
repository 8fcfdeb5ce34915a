package import SwerveCore
package import SwerveTiers

/// What every packed block of an engine has in common, and how the host keeps it.
package struct BlockShape: Sendable {
  package var model: Digest
  package var type: KVType
  package var layerCount: Int
  package var blockTokens: Int
  /// Bytes of a block as the device has it.
  package var deviceBytes: Int
  /// To the host's precision; nil: the host has the device's bytes.
  package var conversion: PrecisionConversion?

  package init(
    model: Digest, type: KVType, layerCount: Int, blockTokens: Int, deviceBytes: Int,
    conversion: PrecisionConversion? = nil
  ) {
    self.model = model
    self.type = type
    self.layerCount = layerCount
    self.blockTokens = blockTokens
    self.deviceBytes = deviceBytes
    self.conversion = conversion
  }

  /// Bytes of a block as the host keeps it.
  package var hostBytes: Int { conversion?.byteCount ?? deviceBytes }

  func scope(salt: [UInt8], tenant: [UInt8]) -> BlockScope {
    BlockScope(
      model: model, elementType: type, layerCount: layerCount, blockTokens: blockTokens, tenant: TenantID(name: tenant),
      salt: salt)
  }
}

/// The file tier behind a host that keeps another precision than files do: converts on the lane's threads.
struct ConvertingStore: BlockStore {
  let files: FileTier
  let conversion: PrecisionConversion
  let deviceBytes: Int

  func store(
    _ identity: BlockIdentity, from bytes: UnsafeRawBufferPointer, reloadCost: Double, isLossy: Bool
  ) -> StoreOutcome {
    withDeviceBytes { block in
      conversion.decode(bytes, into: block)
      return files.store(identity, from: UnsafeRawBufferPointer(block), reloadCost: reloadCost, isLossy: true)
    }
  }

  func load(_ identity: BlockIdentity, into bytes: UnsafeMutableRawBufferPointer) -> LoadOutcome {
    withDeviceBytes { block in
      let outcome = files.load(identity, into: block)
      guard case .hit = outcome else { return outcome }
      // A block with a number that is not finite has no place on this host.
      return conversion.encode(UnsafeRawBufferPointer(block), into: bytes) ? .hit(isLossy: true) : .miss(.otherShape)
    }
  }

  private func withDeviceBytes<Value>(_ body: (UnsafeMutableRawBufferPointer) -> Value) -> Value {
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: deviceBytes, alignment: 64)
    defer { block.deallocate() }
    return body(block)
  }
}
