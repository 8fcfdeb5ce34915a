import CSwervePlatform

/// Runs `body` on a detached thread with a stack of 1 MiB. Not a task: it waits for disks.
func startLaneThread(_ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(LaneThreadBody(body))
  let code = swerve_thread_start("swerve-lane", 1 << 20, { LaneThreadBody.run($0) }, box.toOpaque())
  precondition(code == 0, "the operating system refuses another thread (error \(code))")
}

private final class LaneThreadBody: Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }

  static func run(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<LaneThreadBody>.fromOpaque(context).takeRetainedValue().body()
  }
}
