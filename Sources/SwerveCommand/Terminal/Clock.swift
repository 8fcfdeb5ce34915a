/// Seconds on a clock that never goes back.
package enum Clock {
  private static let origin = ContinuousClock.now

  package static func now() -> Double { (ContinuousClock.now - origin) / .seconds(1) }
}
