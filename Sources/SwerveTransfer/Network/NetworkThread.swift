internal import CSwervePlatform

/// Threads that wait for the network: one that listens, one a control link, one for each worker on its way. They never
/// compute.
enum NetworkThread {
  /// Runs `body` on a thread of its own (15 characters of the name are shown), which nobody joins.
  ///
  /// - Throws: where the system has no more threads.
  static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(TransferError) {
    let box = Unmanaged.passRetained(Body(run: body))
    let code = swerve_thread_start(name, 1 << 20, { Body.take($0) }, box.toOpaque())
    if code != 0 {
      box.release()
      throw .system("start a thread for the network", code: code)
    }
  }

  private final class Body: Sendable {
    let run: @Sendable () -> Void

    init(run: @escaping @Sendable () -> Void) { self.run = run }

    static func take(_ context: UnsafeMutableRawPointer?) {
      guard let context else { return }
      Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
    }
  }
}

/// Something that one thread waits for and another one brings, once or several times.
final class Bell: Sendable {
  nonisolated(unsafe) private let word: UnsafeMutablePointer<UInt32>

  init() {
    word = .allocate(capacity: 1)
    word.initialize(to: 0)
  }

  deinit { word.deallocate() }

  /// Before looking whether it is there.
  var count: UInt32 { swerve_word_load(word) }

  /// After bringing it.
  func ring() {
    swerve_word_add(word)
    swerve_word_wake(word)
  }

  /// Returns when it rang since `count`, or after so many nanoseconds, or for no reason.
  func wait(since count: UInt32, nanoseconds: UInt64) { _ = swerve_word_sleep(word, count, nanoseconds) }
}
