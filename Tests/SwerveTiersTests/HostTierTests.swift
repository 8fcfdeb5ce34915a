import SwerveCore
import SwerveTiers
import Testing

@Suite struct HostTierTests {
  private func tier(places: Int, policy: EvictionPolicy = .lru, keyBits: Int = 128) throws -> HostTier {
    try HostTier(blockBytes: 100, capacityBytes: places * 4096, policy: policy, keyBits: keyBits)
  }

  private func put(_ tier: HostTier, _ number: Int, cost: Double = 1) -> HostSlot? {
    tier.put(block(number), reloadCost: cost) { $0.copyBytes(from: content(number, count: 100)) }
  }

  private func bytes(_ tier: HostTier, _ slot: HostSlot) throws -> [UInt8] {
    #expect(tier.pin(slot))
    defer { tier.unpin(slot) }
    return Array(try #require(tier.memory(of: slot)).bytes)
  }

  @Test func aBlockComesBackAsItWasPut() throws {
    let tier = try tier(places: 2)
    #expect(tier.find(block(1)) == nil)
    let slot = try #require(put(tier, 1))
    #expect(tier.find(block(1)) == slot)
    #expect(try bytes(tier, slot) == content(1, count: 100))
    #expect(!tier.isLossy(slot))
    #expect(tier.find(block(1, tenant: "other")) == nil)
    #expect(tier.find(block(1, model: Digest(of: [1]))) == nil)
  }

  /// Every single bit.
  @Test func aBlockThatHasChangedIsForgotten() throws {
    let tier = try tier(places: 2)
    for bit in 0..<800 {
      let slot = try #require(put(tier, 1))
      #expect(tier.pinIntact(slot))
      try #require(tier.memory(of: slot)).bytes[bit / 8] ^= 1 << (bit % 8)
      // Who holds it has seen it as it was sealed.
      #expect(tier.pinIntact(slot))
      tier.unpin(slot)
      tier.unpin(slot)
      try #require(!tier.pinIntact(slot) && tier.find(block(1)) == nil)
      #expect(tier.statistics.damages == bit + 1)
    }
    #expect(tier.usedCount == 0 && tier.pinnedCount == 0)
    #expect(tier.violation() == nil)
  }

  @Test func aTierTooSmallForABlockIsRefusedWithASentence() {
    #expect {
      try HostTier(blockBytes: 5000, capacityBytes: 4096)
    } throws: {
      "\($0)" == "the host tier of 4096 bytes cannot hold one block of 5000; make it larger."
    }
    #expect(throws: TierError.self) { try HostTier(blockBytes: 0, capacityBytes: 4096) }
    #expect(throws: TierError.self) { try HostTier(blockBytes: .max / 2, capacityBytes: .max) }
  }

  @Test func theOneNotUsedForTheLongestTimeGoesFirst() throws {
    let tier = try tier(places: 3)
    for number in 0..<3 { _ = put(tier, number) }
    _ = tier.find(block(0))
    _ = put(tier, 3)
    #expect([0, 1, 2, 3].map { tier.find(block($0)) != nil } == [true, false, true, true])
  }

  @Test func theCheapestToReloadGoesFirstUnlessTheDearIsNeverUsed() throws {
    let tier = try tier(places: 3, policy: .cost)
    _ = put(tier, 0, cost: 10)
    _ = put(tier, 1, cost: 1)
    _ = put(tier, 2, cost: 5)
    _ = put(tier, 3, cost: 2)
    #expect([0, 1, 2, 3].map { tier.find(block($0)) != nil } == [true, false, true, true])
    // Ageing: blocks of cost 2 that keep coming raise the floor until the dear one, never used again, is below them.
    for number in 4..<40 { _ = put(tier, number, cost: 2) }
    #expect(tier.find(block(0)) == nil)
  }

  @Test func aPinnedBlockStaysAndEveryPlacePinnedRefuses() throws {
    let tier = try tier(places: 2)
    let first = try #require(put(tier, 0))
    let second = try #require(put(tier, 1))
    #expect(tier.pin(first) && tier.pin(first) && tier.pin(second))
    #expect(tier.pinnedCount == 2)
    #expect(put(tier, 2) == nil)
    #expect(tier.statistics.refusals == 1)
    #expect(!tier.evict(first))
    tier.unpin(first)
    #expect(put(tier, 2) == nil)
    tier.unpin(first)
    #expect(put(tier, 2) != nil)
    #expect(tier.find(block(0)) == nil && tier.find(block(1)) == second)
    tier.unpin(second)
    #expect(!tier.unpin(second))
  }

  @Test func aSlotOfABlockThatIsGoneNamesNothing() throws {
    let tier = try tier(places: 1)
    let old = try #require(put(tier, 0))
    let new = try #require(put(tier, 1))
    #expect(old.index == new.index)
    #expect(!tier.pin(old) && tier.memory(of: old) == nil && !tier.evict(old) && !tier.unpin(old) && !tier.seal(old))
    #expect(tier.statistics.staleReferences == 5)
    #expect(tier.pin(new))
  }

  @Test func aBlockBeingFilledIsNotFoundAndTakenOnce() throws {
    let tier = try tier(places: 2)
    guard case .reserved(let slot) = tier.reserve(block(5), reloadCost: 1) else {
      Issue.record("no place")
      return
    }
    #expect(tier.find(block(5)) == nil)
    #expect(tier.reserve(block(5), reloadCost: 1) == .filling(slot))
    #expect(!tier.pin(slot) && !tier.evict(slot))
    #expect(tier.memory(of: slot)?.bytes.count == 100)
    #expect(tier.seal(slot, lossy: true))
    #expect(
      tier.isLossy(slot) && tier.find(block(5)) == slot && tier.reserve(block(5), reloadCost: 1) == .present(slot))
    #expect(tier.pinnedCount == 1)
    tier.unpin(slot)
    guard case .reserved(let other) = tier.reserve(block(6), reloadCost: 1) else {
      Issue.record("no place")
      return
    }
    #expect(tier.abandon(other) && tier.find(block(6)) == nil && tier.usedCount == 1 && tier.pinnedCount == 0)
    #expect(tier.violation() == nil)
  }

  /// Everything a caller may do, against a dictionary; three key bits make most look-ups collide.
  @Test(arguments: [(EvictionPolicy.lru, 128), (.cost, 128), (.lru, 3)])
  func randomOperationsAgreeWithAModel(policy: EvictionPolicy, keyBits: Int) throws {
    let places = 24
    let tier = try tier(places: places, policy: policy, keyBits: keyBits)
    var random = SeededRandom(seed: UInt64(keyBits) + (policy == .lru ? 1 : 2))
    var slots: [Int: HostSlot] = [:]
    var pins: [Int: Int] = [:]
    var filling: [Int: HostSlot] = [:]
    for step in 0..<(isLong ? 1_000_000 : 100_000) {
      let number = Int.random(in: 0..<64, using: &random)
      switch Int.random(in: 0..<9, using: &random) {
      case 0, 1:
        guard filling[number] == nil else { continue }
        if let slot = put(tier, number, cost: Double(number % 7)) { slots[number] = slot }
      case 2, 3:
        let slot = tier.find(block(number))
        if let slot {
          #expect(slots[number] == slot)
          if step % 64 == 0 { #expect(try bytes(tier, slot) == content(number, count: 100)) }
        } else {
          #expect(pins[number, default: 0] == 0, "a pinned block is gone")
          slots[number] = nil
        }
      case 4:
        if let slot = slots[number], pins.values.reduce(0, +) < 30, tier.pin(slot) { pins[number, default: 0] += 1 }
      case 5:
        if let number = pins.keys.min(by: { $0 &* 7919 % 101 < $1 &* 7919 % 101 }), let slot = slots[number] {
          #expect(tier.unpin(slot))
          pins[number] = pins[number] == 1 ? nil : pins[number, default: 1] - 1
        }
      case 6:
        if let slot = slots[number], tier.evict(slot) {
          #expect(pins[number] == nil)
          slots[number] = nil
        }
      case 7:
        if filling.count < 4, case .reserved(let slot) = tier.reserve(block(number), reloadCost: 1) {
          try #require(tier.memory(of: slot)).bytes.copyBytes(from: content(number, count: 100))
          filling[number] = slot
        }
      default:
        guard let (number, slot) = filling.min(by: { $0.key < $1.key }) else { continue }
        filling[number] = nil
        if step % 2 == 0 {
          #expect(tier.abandon(slot))
          slots[number] = nil
        } else {
          #expect(tier.seal(slot) && tier.unpin(slot))
          slots[number] = slot
        }
      }
      #expect(tier.usedCount <= places)
      if step % 997 == 0 { #expect(tier.violation() == nil) }
    }
    for (number, count) in pins { for _ in 0..<count { #expect(tier.unpin(try #require(slots[number]))) } }
    for slot in filling.values { #expect(tier.abandon(slot)) }
    #expect(tier.pinnedCount == 0)
    tier.removeAll()
    #expect(tier.usedCount == 0 && tier.violation() == nil)
    if keyBits < 128 { #expect(tier.statistics.collisions > 1000) }
  }
}
