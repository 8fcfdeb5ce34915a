internal import CSwervePlatform

/// How long a wait looks at a word before it sleeps: not at all while more threads can run than there are cores, for a spin
/// would keep the one away that is waited for; nor where waits last longer than a spin. Else as long as a layer takes: a
/// thread that sleeps on a core of its own comes back late, since that core has to be woken too (50 µs on virtual machines).
package struct SpinBudget: Sendable {
  /// Threads of this engine that may spin or compute at the same time.
  private let threads: Int32
  private let mostNanoseconds: UInt64
  /// Follows the last waits. Nanoseconds.
  private var usualWait: UInt64 = 0
  private var isShared = true
  private var nextLook: UInt64 = 0
  private let looksShared: @Sendable (Int32) -> Bool

  /// - Parameters:
  ///   - threads: all threads of all roles on this machine; more than it has cores: never spins.
  ///   - microseconds: a spin at most.
  ///   - looksShared: whether others want the cores of so many threads; nil: what the machine says.
  package init(threads: Int, microseconds: Int = 1000, looksShared: (@Sendable (Int32) -> Bool)? = nil) {
    self.looksShared = looksShared ?? { swerve_machine_is_shared($0) }
    self.threads = Int32(clamping: threads)
    mostNanoseconds = UInt64(max(microseconds, 0)) * 1000
  }

  /// Nanoseconds to spin now. Looks at the machine once a second.
  package mutating func budget(now: UInt64) -> UInt64 {
    if mostNanoseconds == 0 { return 0 }
    if now >= nextLook {
      nextLook = now + 1_000_000_000
      isShared = looksShared(threads)
    }
    return isShared || usualWait > mostNanoseconds ? 0 : mostNanoseconds
  }

  /// A wait has ended. However long one was, as between two requests, a few of a step are believed again.
  package mutating func record(nanoseconds: UInt64) {
    usualWait = (3 * usualWait + min(nanoseconds, 2 * mostNanoseconds)) / 4
  }
}

/// The clock of links.
package enum TransferClock {
  /// Nanoseconds; only goes forward.
  package static var now: UInt64 { swerve_monotonic_ns() }

  /// The time so many seconds from now; none below 0, and none beyond eleven days.
  package static func time(in seconds: Double) -> UInt64 { now + UInt64(min(max(seconds, 0), 1e6) * 1e9) }

  /// Seconds since a time.
  package static func seconds(since time: UInt64) -> Double { Double(now - min(time, now)) * 1e-9 }

  /// Lets this thread sleep; less than a second.
  package static func nap(microseconds: UInt32) { swerve_nap(microseconds) }
}
