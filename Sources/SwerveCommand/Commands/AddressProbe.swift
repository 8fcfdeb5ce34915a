import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Finds out whether an address can be listened on, before a model is loaded for minutes.
enum AddressProbe {
  /// Binds and lets go. Never listens: a client that polls the port must not be accepted by a socket that is about to
  /// vanish. Throws a `CommandError` with exit code 8. Port 0 is always free.
  static func check(host: String, port: Int) throws {
    if port == 0 { return }
    let shown = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    let address: SocketAddress
    do {
      address = try SocketAddress.makeAddressResolvingHost(host, port: port)
    } catch {
      throw CommandError(.address, "cannot listen on \(shown): the host name is not known here; give an address.")
    }
    let code = bindOnce(address)
    if code == 0 { return }
    throw CommandError(
      .address,
      code == EADDRINUSE
        ? "cannot listen on \(shown): the address is in use; stop the other server or choose another --port."
        : "cannot listen on \(shown): \(String(cString: strerror(code)).lowercased()).")
  }

  /// 0, or the error number.
  private static func bindOnce(_ address: SocketAddress) -> Int32 {
    #if canImport(Darwin)
      let stream = SOCK_STREAM
    #else
      let stream = Int32(SOCK_STREAM.rawValue)
    #endif
    return address.withSockAddr { pointer, length in
      let descriptor = socket(Int32(pointer.pointee.sa_family), stream, 0)
      guard descriptor >= 0 else { return errno }
      defer { close(descriptor) }
      var reuse: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
      return bind(descriptor, pointer, socklen_t(length)) == 0 ? 0 : errno
    }
  }
}
