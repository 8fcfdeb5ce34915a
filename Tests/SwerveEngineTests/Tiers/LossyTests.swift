import SwerveCore
import SwerveEngine
import Testing

/// A tier of a lower precision: answers say that they read it, and nobody else is given what came of it.
@Suite(.serialized) struct LossyTierTests {
  @Test func whoReadsALowerPrecisionSaysSo() async throws {
    let folder = try TestFolder()
    let engine = try await Engine.start(
      storyConfiguration {
        $0.dtype = .bfloat16
        $0.kvCacheBytes = nil
        $0.kvBlocks = 40
        $0.kvTiers = "host=64MiB:dtype=int8,nvme=1GiB:\(folder.blocks):dtype=int4"
      })
    #expect(engine.model.mayReadLossy)
    let exact = try await engine.answer(longRequest(0))
    #expect(!exact.hasReadLossy && exact.cachedTokens == 0)
    for round in 0..<3 {
      for number in 1..<5 { _ = try await engine.answer(longRequest(number)) }
      let again = try await engine.answer(longRequest(0))
      #expect(again.hasReadLossy && again.cachedTokens > 0, "round \(round)")
      // Blocks that came back are nobody else's: the next one reads them again, and does not find them on the device.
      let next = try await engine.answer(longRequest(0))
      #expect(next.hasReadLossy && next.choices == again.choices)
    }
    let computed = try await engine.answer(
      longRequest(0) { $0.skipReadingPrefixCache = true })
    #expect(!computed.hasReadLossy && computed.choices == exact.choices)
    let statistics = engine.statistics
    #expect(statistics.lossySequences > 0)
    await engine.stop()
  }

  @Test func anExactTierIsNeverLossy() async throws {
    let engine = try await Engine.start(
      storyConfiguration {
        $0.kvBlocks = 40; $0.kvCacheBytes = nil; $0.kvTiers = "host=64MiB"
      })
    #expect(!engine.model.mayReadLossy)
    for _ in 0..<2 {
      for number in 0..<4 { #expect(try await !engine.answer(longRequest(number)).hasReadLossy) }
    }
    #expect(engine.statistics.lossySequences == 0 && engine.statistics.tiers?.hostToDeviceBytes ?? 0 > 0)
    await engine.stop()
  }
}
