// The words every room shares and the contracts between rooms: ids, parameters, the step plan and its result, requests
// and events. No behaviour beyond validation. Start with StepPlan (layers 2 and 3) and EngineClient (layer 1).

/// A token of the model's vocabulary. Range: 0 ..< vocabulary size.
@frozen public struct TokenID: RawRepresentable, Hashable, Sendable, Comparable, ExpressibleByIntegerLiteral {
  public var rawValue: Int32

  @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
  @inlinable public init(_ value: some BinaryInteger) { self.rawValue = Int32(value) }
  @inlinable public init(integerLiteral value: Int32) { self.rawValue = value }
  @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension TokenID: CustomStringConvertible {
  public var description: String { String(rawValue) }
}

/// A physical block of the KV pool. Range: 0 ..< block count.
@frozen public struct BlockID: RawRepresentable, Hashable, Sendable {
  public var rawValue: Int32

  @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
  @inlinable public init(_ value: some BinaryInteger) { self.rawValue = Int32(value) }
}

/// One accepted request, unique in the life of a process.
@frozen public struct RequestID: RawRepresentable, Hashable, Sendable {
  public var rawValue: UInt64

  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// One stream of tokens: a request has `n` of them. The slot indexes the sampler's state for as long as the sequence
/// runs; slots are reused after they were released.
@frozen public struct SequenceID: Hashable, Sendable {
  public var request: RequestID
  /// 0 ..< n: which of the request's choices.
  public var index: Int32

  @inlinable public init(request: RequestID, index: Int32) {
    self.request = request
    self.index = index
  }
}

/// The row of per-sequence state (sampler, penalties, counters) that a running sequence holds. 0 ..< max sequences.
@frozen public struct SlotID: RawRepresentable, Hashable, Sendable {
  public var rawValue: Int32

  @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
  @inlinable public init(_ value: some BinaryInteger) { self.rawValue = Int32(value) }
}

/// How numbers are stored: weights and activations at the seams.
public enum ElementType: String, Sendable, Hashable, CaseIterable {
  case float32, bfloat16, float16

  @inlinable public var byteCount: Int { self == .float32 ? 4 : 2 }
}
