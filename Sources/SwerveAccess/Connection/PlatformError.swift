#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The few error numbers of the operating system that the server has an answer for.
enum PlatformError {
  static let addressInUse = EADDRINUSE

  static func text(_ code: CInt) -> String {
    switch code {
    case EACCES, EPERM: "permission denied; ports below 1024 need privileges."
    case EADDRNOTAVAIL: "this machine has no such address; check --host."
    default: strerror(code).map { String(cString: $0) } ?? "error \(code)"
    }
  }
}
