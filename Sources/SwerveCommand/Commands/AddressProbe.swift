import NIOCore
import NIOPosix

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Finds out whether an address can be listened on, before a model is loaded for minutes.
enum AddressProbe {
  /// Binds and lets go. Throws a `CommandError` with exit code 8. Port 0 is always free.
  static func check(host: String, port: Int) async throws {
    if port == 0 { return }
    do {
      let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .bind(host: host, port: port).get()
      try await channel.close()
    } catch let error as IOError {
      let address = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
      throw CommandError(
        .address,
        error.errnoCode == EADDRINUSE
          ? "cannot listen on \(address): the address is in use; stop the other server or choose another --port."
          : "cannot listen on \(address): \(String(cString: strerror(error.errnoCode)).lowercased()).")
    } catch let error as SocketAddressError {
      throw CommandError(.address, "cannot listen on \(host): \(error).")
    }
  }
}
