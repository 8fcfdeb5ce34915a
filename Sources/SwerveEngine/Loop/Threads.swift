import CSwervePlatform

/// Runs `body` on a thread of its own with the given name (15 characters are shown) and an 8 MiB stack. The thread is
/// detached: whoever needs its end gives `body` a way to say so.
///
/// Not a task: the engine must not share Swift's pool with the event loops, and must not be suspended between steps.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(ThreadBody(body))
  let code = swerve_thread_start(name, 8 << 20, { ThreadBody.run($0) }, box.toOpaque())
  precondition(code == 0, "the operating system refuses another thread (error \(code))")
}

private final class ThreadBody: Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }

  static func run(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body()
  }
}
