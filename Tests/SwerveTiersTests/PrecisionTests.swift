import SwerveCore
import SwerveTiers
import Testing
import TierTestSupport

@Suite struct PrecisionTests {
  private static func layout(_ type: ElementType, heads: Int = 2, dimension: Int = 6, tokens: Int = 32) throws
    -> PackedLayout
  {
    try PackedLayout(
      layerCount: 2, headCount: heads, headDimension: dimension, blockTokens: tokens, elementType: type)
  }

  /// Where the kernels keep an element, written down once more from their description.
  private static func place(_ layout: PackedLayout, layer: Int, isValue: Bool, head: Int, token: Int, _ d: Int) -> Int {
    let (tokens, dimension) = (layout.blockTokens, layout.headDimension)
    let plane = layout.headCount * tokens * dimension
    let base = (layer * 2 + (isValue ? 1 : 0)) * plane
    if layout.elementType == .float32 {
      return isValue
        ? base + (head * tokens + token) * dimension + d
        : base + ((head * (tokens / 16) + token / 16) * dimension + d) * 16 + token % 16
    }
    return isValue
      ? base + ((head * (tokens / 2) + token / 2) * dimension + d) * 2 + token % 2
      : base + (((head * (tokens / 16) + token / 16) * (dimension / 2) + d / 2) * 16 + token % 16) * 2 + d % 2
  }

  private static func write(_ value: Float, _ type: ElementType, _ bytes: inout [UInt8], _ element: Int) {
    bytes.withUnsafeMutableBytes {
      switch type {
      case .float32: $0.storeBytes(of: value, toByteOffset: element * 4, as: Float.self)
      case .bfloat16:
        $0.storeBytes(of: UInt16(value.bitPattern >> 16), toByteOffset: element * 2, as: UInt16.self)
      case .float16: $0.storeBytes(of: Float16(value), toByteOffset: element * 2, as: Float16.self)
      }
    }
  }

  private static func read(_ type: ElementType, _ bytes: [UInt8], _ element: Int) -> Float {
    bytes.withUnsafeBytes {
      switch type {
      case .float32: $0.loadUnaligned(fromByteOffset: element * 4, as: Float.self)
      case .bfloat16:
        Float(bitPattern: UInt32($0.loadUnaligned(fromByteOffset: element * 2, as: UInt16.self)) << 16)
      case .float16: Float($0.loadUnaligned(fromByteOffset: element * 2, as: Float16.self))
      }
    }
  }

  private static func convert(_ conversion: PrecisionConversion, _ block: [UInt8]) -> (stored: [UInt8], back: [UInt8])?
  {
    var stored = [UInt8](repeating: 0xAA, count: conversion.byteCount)
    guard block.withUnsafeBytes({ source in stored.withUnsafeMutableBytes { conversion.encode(source, into: $0) } })
    else { return nil }
    var back = [UInt8](repeating: 0x55, count: block.count)
    stored.withUnsafeBytes { source in back.withUnsafeMutableBytes { conversion.decode(source, into: $0) } }
    return (stored, back)
  }

  /// Vectors of very different magnitude side by side: a scale that belongs to another vector would show.
  @Test(arguments: ElementType.allCases, TierPrecision.allCases)
  func everyNumberComesBackWithinHalfAStepOfItsOwnVector(type: ElementType, precision: TierPrecision) throws {
    let layout = try Self.layout(type)
    let conversion = PrecisionConversion(layout: layout, precision: precision)
    var random = SeededRandom(seed: 5)
    var block = [UInt8](repeating: 0, count: layout.byteCount(.exact))
    for layer in 0..<2 {
      for isValue in [false, true] {
        for head in 0..<layout.headCount {
          for token in 0..<layout.blockTokens {
            let magnitude =
              Float.random(in: 0..<1, using: &random) < 0.1 ? 0 : Float(1 << Int.random(in: 0..<12, using: &random))
            for d in 0..<layout.headDimension {
              Self.write(
                Float.random(in: -1...1, using: &random) * magnitude, type, &block,
                Self.place(layout, layer: layer, isValue: isValue, head: head, token: token, d))
            }
          }
        }
      }
    }
    let (stored, back) = try #require(Self.convert(conversion, block))
    #expect(try #require(Self.convert(conversion, block)).stored == stored)
    if precision == .exact {
      #expect(back == block && stored == block)
      return
    }
    let limit: Float = precision == .int8 ? 127 : 7
    let unit: Float = type == .bfloat16 ? 0x1p-8 : type == .float16 ? 0x1p-11 : 0x1p-23
    var differences = 0
    for layer in 0..<2 {
      for isValue in [false, true] {
        for head in 0..<layout.headCount {
          for token in 0..<layout.blockTokens {
            let places = (0..<layout.headDimension).map {
              Self.place(layout, layer: layer, isValue: isValue, head: head, token: token, $0)
            }
            let largest = places.map { abs(Self.read(type, block, $0)) }.max() ?? 0
            for place in places {
              let (before, after) = (Self.read(type, block, place), Self.read(type, back, place))
              #expect(abs(before - after) <= largest / limit * 0.5001 + abs(after) * unit + 0x1p-24)
              if before != after { differences += 1 }
            }
          }
        }
      }
    }
    #expect(differences > layout.elementCount / 4, "nothing was rounded")
    #expect(stored.count < block.count * (precision == .int8 ? 9 : 6) / 10 || type != .float32)
  }

  @Test func aBlockWithANumberThatIsNotFiniteIsNotConverted() throws {
    let layout = try Self.layout(.float32)
    for value in [Float.nan, .infinity, -.infinity] {
      var block = [UInt8](repeating: 0, count: layout.byteCount(.exact))
      Self.write(value, .float32, &block, layout.elementCount - 1)
      #expect(Self.convert(PrecisionConversion(layout: layout, precision: .int8), block) == nil)
    }
    var extreme = [UInt8](repeating: 0, count: layout.byteCount(.exact))
    Self.write(.leastNonzeroMagnitude, .float32, &extreme, 0)
    Self.write(.greatestFiniteMagnitude, .float32, &extreme, 40)
    for precision in TierPrecision.allCases {
      #expect(Self.convert(PrecisionConversion(layout: layout, precision: precision), extreme) != nil)
    }
  }

  @Test func layoutsThatTheKernelsDoNotHaveAreRefused() {
    for (layers, heads, dimension, tokens) in [(0, 1, 2, 16), (1, 0, 2, 16), (1, 1, 3, 16), (1, 1, 2, 8), (1, 1, 2, 0)]
    {
      #expect(throws: TierError.self) {
        try PackedLayout(
          layerCount: layers, headCount: heads, headDimension: dimension, blockTokens: tokens, elementType: .bfloat16)
      }
    }
  }

  @Test(arguments: [TierPrecision.int8, .int4])
  func aTierOfLowerPrecisionSaysSo(precision: TierPrecision) throws {
    let folder = try TemporaryFolder()
    let files = MemoryFileSystem()
    let layout = try PackedLayout(
      layerCount: 2, headCount: 2, headDimension: 16, blockTokens: testTokens, elementType: .bfloat16)
    var settings = configuration(folder: folder.path, blockBytes: layout.byteCount(.exact))
    settings.precision = precision
    #expect(throws: TierError.self) { try FileTier(settings, master: .ephemeral(), files: files) }
    settings.layout = layout
    let tier = try FileTier(settings, master: .ephemeral(), files: files)
    var bytes = [UInt8](repeating: 0, count: settings.blockBytes)
    var random = SeededRandom(seed: 1)
    for element in 0..<layout.elementCount {
      Self.write(Float.random(in: -1...1, using: &random), .bfloat16, &bytes, element)
    }
    #expect(tier.store(block(1), bytes) == .stored(fileBytes: settings.fileBytes))
    #expect(settings.fileBytes < settings.blockBytes)
    var back = [UInt8](repeating: 0, count: bytes.count)
    #expect(back.withUnsafeMutableBytes { tier.load(block(1), into: $0) } == .hit(isLossy: true))
    #expect(back != bytes)
    // A block that cannot be converted is kept exactly, and one that was lossy before stays so.
    Self.write(.infinity, .bfloat16, &bytes, 0)
    _ = tier.store(block(2), bytes)
    #expect(back.withUnsafeMutableBytes { tier.load(block(2), into: $0) } == .hit(isLossy: false))
    #expect(back == bytes)
    _ = bytes.withUnsafeBytes { tier.store(block(3), from: $0, reloadCost: 1, isLossy: true) }
    #expect(back.withUnsafeMutableBytes { tier.load(block(3), into: $0) } == .hit(isLossy: true))
    #expect(tier.violation() == nil)
  }
}
