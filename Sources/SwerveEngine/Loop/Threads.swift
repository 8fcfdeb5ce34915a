import CSwervePlatform

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Runs `body` on a thread of its own with the given name (15 characters are shown) and an 8 MiB stack. The thread is
/// detached: whoever needs its end gives `body` a way to say so.
///
/// Not a task: the engine must not share Swift's pool with the event loops, and must not be suspended between steps.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(ThreadBody(name: name, body: body))
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  pthread_attr_setstacksize(&attributes, 8 << 20)
  pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
  #if canImport(Darwin)
    var thread: pthread_t?
  #else
    var thread = pthread_t()
  #endif
  let code = pthread_create(&thread, &attributes, threadEntry, box.toOpaque())
  pthread_attr_destroy(&attributes)
  precondition(code == 0, "the operating system refuses another thread: \(String(cString: strerror(code)))")
}

#if canImport(Darwin)
  private func threadEntry(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    ThreadBody.run(argument)
    return nil
  }
#else
  private func threadEntry(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument { ThreadBody.run(argument) }
    return nil
  }
#endif

private final class ThreadBody: Sendable {
  let name: String
  let body: @Sendable () -> Void

  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }

  static func run(_ argument: UnsafeMutableRawPointer) {
    let box = Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue()
    swerve_thread_set_name(box.name)
    box.body()
  }
}
