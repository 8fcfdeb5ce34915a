internal import CSwervePlatform

/// Where a worker listens: `10.0.0.2:8500`, `data-0.data:8500`, `[fd00::2]:8500`.
package struct Endpoint: Sendable, Hashable, CustomStringConvertible {
  package let host: String
  /// 0 only where any will do.
  package let port: Int

  package init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// nil for what is no host with a port behind it.
  package init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65535).contains(port)
    else { return nil }
    var host = String(text[..<colon])
    if host.hasPrefix("[") {
      guard host.hasSuffix("]"), host.count > 2 else { return nil }
      host = String(host.dropFirst().dropLast())
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty, !host.contains(where: { $0.isWhitespace || $0 == "/" }) else { return nil }
    self.init(host: host, port: port)
  }

  /// - Throws: `.refused` for a number that is no port: they come from flags and from other engines.
  var checkedPort: Int32 {
    get throws(TransferError) {
      guard (0...65535).contains(port) else { throw .refused("\(port) is no port of \(host); ports end at 65535") }
      return Int32(port)
    }
  }

  package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// Whether nothing sent there leaves this machine.
  package var isLoopback: Bool { swerve_host_is_loopback(host) }
}
