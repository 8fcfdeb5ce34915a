package import SwerveCore
package import SwerveTransfer

// Blocks that other engines computed: they are loaded like those of a tier, and what does not come is computed.
extension BlockTiers {
  /// A request that is submitted next has its prompt's blocks come from another engine.
  package func expect(_ transfer: IncomingBlocks, for request: RequestID) { expected[request] = transfer }

  /// The request is over, or its blocks are loaded: their places are free.
  package func forget(_ request: RequestID) {
    if expected.isEmpty { return }
    expected.removeValue(forKey: request)?.release()
  }

  /// Requests that are to be given up because their blocks did not come, with the reason. Told once.
  package func takeMissing() -> [(RequestID, String)] {
    if missing.isEmpty { return [] }
    defer { missing.removeAll() }
    failedRequests += missing.count
    return missing
  }

  func collectMissing() {
    for (request, transfer) in expected {
      if let why = transfer.failure { missing.append((request, why)) }
    }
    for (request, _) in missing { forget(request) }
  }

  package func describe(in statistics: inout TransferStatistics) {
    statistics.queriedTokens = externalQueriedTokens
    statistics.hitTokens = externalHitTokens
    statistics.failedRequests = failedRequests
  }
}
