// Talking to a server that speaks the OpenAI API: chat, complete and bench serve.
// This folder must not know what the answers are for. Start with OpenAIClient.

/// Splits a stream of bytes into the data of server-sent events (WHATWG HTML, "Server-sent events"): `data:` lines
/// joined by newlines, a blank line ends an event, lines that begin with a colon are comments. Lines may end with LF,
/// CR or CRLF and arrive in pieces of any size.
package struct ServerSentEvents: Sendable {
  private var line: [UInt8] = []
  private var data: [UInt8]?
  private var sawCarriageReturn = false
  /// Bytes of an unfinished line or event; more than this and the stream is no event stream.
  private static let limit = 64 << 20

  package init() {}

  /// The events that `bytes` complete.
  package mutating func append(_ bytes: some Sequence<UInt8>) throws(RemoteError) -> [String] {
    var events: [String] = []
    for byte in bytes {
      defer { sawCarriageReturn = byte == 0x0D }
      switch byte {
      case 0x0A where sawCarriageReturn: continue
      case 0x0A, 0x0D:
        if let event = endLine() { events.append(event) }
      default:
        if line.count + (data?.count ?? 0) >= Self.limit { throw .badAnswer("an event of more than 64 MiB") }
        line.append(byte)
      }
    }
    return events
  }

  private mutating func endLine() -> String? {
    defer { line.removeAll(keepingCapacity: true) }
    if line.isEmpty {
      defer { data = nil }
      return data.map { String(decoding: $0, as: UTF8.self) }
    }
    guard line.starts(with: "data".utf8) else { return nil }
    var value = line.dropFirst(4)
    if !value.isEmpty {
      guard value.first == UInt8(ascii: ":") else { return nil }
      value = value.dropFirst()
      if value.first == 0x20 { value = value.dropFirst() }
    }
    if data == nil { data = Array(value) } else { data?.append(0x0A); data?.append(contentsOf: value) }
    return nil
  }
}
