#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Runs `body` on a detached thread with a stack of 1 MiB. Not a task: it waits for disks.
func startLaneThread(_ body: @escaping @Sendable () -> Void) {
  let box = Unmanaged.passRetained(LaneThreadBody(body))
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  pthread_attr_setstacksize(&attributes, 1 << 20)
  pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
  #if canImport(Darwin)
    var thread: pthread_t?
  #else
    var thread = pthread_t()
  #endif
  let code = pthread_create(&thread, &attributes, laneThreadEntry, box.toOpaque())
  pthread_attr_destroy(&attributes)
  precondition(code == 0, "the operating system refuses another thread: \(String(cString: strerror(code)))")
}

#if canImport(Darwin)
  private func laneThreadEntry(_ argument: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    LaneThreadBody.run(argument)
    return nil
  }
#else
  private func laneThreadEntry(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument { LaneThreadBody.run(argument) }
    return nil
  }
#endif

private final class LaneThreadBody: Sendable {
  private let body: @Sendable () -> Void

  init(_ body: @escaping @Sendable () -> Void) { self.body = body }

  static func run(_ argument: UnsafeMutableRawPointer) {
    Unmanaged<LaneThreadBody>.fromOpaque(argument).takeRetainedValue().body()
  }
}
