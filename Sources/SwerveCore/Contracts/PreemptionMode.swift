/// What happens to the keys and values of a sequence that gives its place to others.
public enum PreemptionMode: String, Sendable, Hashable, CaseIterable {
  /// They are forgotten and computed again.
  case recompute
  /// They are copied to a tier below the device and brought back.
  case swap
  /// Whichever was measured to be faster. Without a tier below the device: `recompute`.
  case auto
}
