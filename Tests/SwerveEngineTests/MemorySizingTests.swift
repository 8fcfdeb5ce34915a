import SwerveCore
import SwerveEngine
import Testing

@Suite struct MemorySizingTests {
  private let needs = MemorySizing.Needs(
    weightBytes: 1000, scratchBytes: 200, blockBytes: 10, maxSequences: 4, modelContext: 64)
  private let memory = SystemMemory(totalBytes: 10_000, availableBytes: 8_000)

  private func decide(
    _ change: (inout EngineConfiguration) -> Void = { _ in }, available: Int = 8_000
  ) throws -> MemorySizing {
    var configuration = EngineConfiguration()
    change(&configuration)
    return try MemorySizing.decide(
      configuration, needs, memory: SystemMemory(totalBytes: 10_000, availableBytes: available))
  }

  @Test func theDefaultPoolServesAllSequencesAndNoMore() throws {
    let sizing = try decide()
    #expect(sizing.blockCount == 4 * 64 / 16)
    #expect(sizing.maxModelLength == 64)
    #expect(sizing.kvBytes == 160)
  }

  @Test func availableMemoryBoundsThePool() throws {
    #expect(try decide(available: 1_200 + 55).blockCount == 5)
  }

  @Test func exactSettingsWin() throws {
    #expect(try decide { $0.kvCacheBytes = 1_005 }.blockCount == 100)
    #expect(
      try decide {
        $0.kvCacheBytes = 1_005; $0.kvBlocks = 7
      }.blockCount == 7)
  }

  @Test func automaticLengthIsWhatFits() throws {
    #expect(
      try decide {
        $0.kvBlocks = 2; $0.maxModelLength = -1
      }.maxModelLength == 32)
    #expect(try decide { $0.maxModelLength = 48 }.maxModelLength == 48)
  }

  @Test func tooLittleMemoryNamesTheLargestLengthAndTheFlags() {
    #expect { try decide { $0.kvBlocks = 3 } } throws: { error in
      guard case .memory(let sentence) = error as? EngineStartError else { return false }
      return sentence.contains("--max-model-len 48") && sentence.contains("--kv-cache-memory-bytes")
    }
    #expect { try decide(available: 1_100) } throws: { ($0 as? EngineStartError)?.exitCode == 4 }
    #expect { try decide { $0.kvCacheBytes = 100_000 } } throws: { ($0 as? EngineStartError)?.exitCode == 4 }
  }

  /// With data workers a sequence may lie with all of them, whole partitions of 256 tokens with each; with tiers below them
  /// it lies with one.
  @Test func dataWorkersHoldLongSequencesTogether() throws {
    let long = MemorySizing.Needs(
      weightBytes: 1000, scratchBytes: 200, blockBytes: 10, maxSequences: 4, modelContext: 4096)
    func decide(_ length: Int, workers: Int = 2, hasTiers: Bool = false) throws -> MemorySizing {
      var configuration = EngineConfiguration()
      configuration.placement = .separated
      configuration.dataWorkers.count = workers
      // 40 blocks of 16 tokens a worker: 640 tokens, of which 512 are whole partitions.
      configuration.kvBlocks = 40 * workers
      configuration.maxModelLength = length
      return try MemorySizing.decide(
        configuration, long, memory: SystemMemory(totalBytes: 100_000, availableBytes: 80_000), hasTiers: hasTiers)
    }
    #expect(try decide(640).spansBanks == false, "fits one")
    #expect(try decide(1024).spansBanks && decide(-1).maxModelLength == 1024)
    #expect(try decide(-1, workers: 3).maxModelLength == 1536)
    #expect(try decide(-1, hasTiers: true).maxModelLength == 640)
    #expect(try decide(640, hasTiers: true).spansBanks == false)
    for (length, hasTiers, most) in [(1025, false, "--max-model-len 1024"), (641, true, "--max-model-len 640")] {
      #expect {
        try decide(length, hasTiers: hasTiers)
      } throws: { ($0 as? EngineStartError)?.description.contains(most) == true }
    }
  }

  @Test func sizesBeyondAllMemoryAreRefusedAndNotComputedWith() throws {
    let vast = MemorySizing.Needs(
      weightBytes: 1000, scratchBytes: 200, blockBytes: 1 << 49, maxSequences: 1 << 20, modelContext: 1 << 30)
    let changes: [(inout EngineConfiguration) -> Void] = [
      { $0.kvBlocks = 1 << 30 }, { $0.kvCacheBytes = 1 << 50 }, { $0.kvBlocks = 1 }, { _ in },
    ]
    for change in changes {
      var configuration = EngineConfiguration()
      change(&configuration)
      #expect { try MemorySizing.decide(configuration, vast, memory: memory) } throws: {
        ($0 as? EngineStartError)?.exitCode == 4
      }
    }
  }

  @Test(arguments: [
    "--kv-cache-memory-bytes", "--num-gpu-blocks-override", "--max-num-batched-tokens", "--max-num-seqs",
    "--max-model-len", "--threads",
  ])
  func hugeSettingsAreRefusedByName(flag: String) {
    var configuration = EngineConfiguration()
    switch flag {
    case "--kv-cache-memory-bytes": configuration.kvCacheBytes = .max
    case "--num-gpu-blocks-override": configuration.kvBlocks = .max
    case "--max-num-batched-tokens": configuration.maxBatchedTokens = .max
    case "--max-num-seqs": configuration.maxSequences = .max
    case "--max-model-len": configuration.maxModelLength = .max
    default: configuration.threads = .max
    }
    #expect { try StartPlan(configuration) } throws: { error in
      (error as? EngineStartError)?.exitCode == 2 && "\(error)".contains(flag)
    }
  }

  @Test func aLengthBeyondTheModelNeedsPermission() throws {
    #expect { try decide { $0.maxModelLength = 65 } } throws: { ($0 as? EngineStartError)?.exitCode == 2 }
    #expect(
      try decide {
        $0.maxModelLength = 65; $0.allowLongMaxModelLength = true
      }.maxModelLength == 65)
  }

  @Test func amountsReadWell() {
    #expect(ByteText.binary(960) == "960 B")
    #expect(ByteText.binary(1536) == "1.50 KiB")
    #expect(ByteText.binary(33_500_000_000) == "31.20 GiB")
    #expect(ByteText.grouped(613_024) == "613,024")
    #expect(ByteText.grouped(-1_000) == "-1,000")
    #expect(Decimals.fixed(4.675, 1) == "4.7")
    #expect(Decimals.fixed(-0.001, 2) == "0.00")
    #expect(Decimals.fixed(12.045, 3) == "12.045")
  }

  @Test func theMachineSaysHowMuchMemoryItHas() {
    let memory = SystemMemory.current()
    #expect(memory.totalBytes > 64 << 20)
    #expect(memory.availableBytes > 0 && memory.availableBytes <= memory.totalBytes)
  }
}
