package import Logging
import SwerveCore
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How log lines look and where they go. The command makes one and bootstraps swift-log with `handler(label:)`.
package struct LogConfiguration: Sendable {
  package enum Format: String, Sendable, CaseIterable { case text, json }

  package var format = Format.text
  package var level = Logger.Level.info
  /// Level of `LogLabel.access`; nil = `level`.
  package var accessLevel: Logger.Level?
  /// Who speaks: `APIServer`, `EngineCore`, …
  package var role = "APIServer"
  /// Goes in front of every line.
  package var prefix = ""
  /// Whether levels are coloured (a terminal, and `NO_COLOR` unset).
  package var usesColor = false
  /// 1 = standard output, 2 = standard error.
  package var fileDescriptor: Int32 = 2

  package init() {}
}

package enum LogLabel {
  package static let server = "swerve.server"
  /// One line per HTTP exchange.
  package static let access = "swerve.access"
}

/// Writes lines whole: one `write` each, under a lock, so that threads never interleave.
package final class LogSink: Sendable {
  private let configuration: LogConfiguration
  private let lock = Mutex(())
  private let output: @Sendable (String) -> Void

  package init(_ configuration: LogConfiguration) {
    self.configuration = configuration
    let descriptor = configuration.fileDescriptor
    output = { line in
      var line = line
      line.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        while !rest.isEmpty {
          let written = write(descriptor, rest.baseAddress, rest.count)
          // A log that nobody can read any more must not stop the server.
          guard written > 0 else { return }
          rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
      }
    }
  }

  /// For tests and other sinks.
  package init(_ configuration: LogConfiguration, output: @escaping @Sendable (String) -> Void) {
    self.configuration = configuration
    self.output = output
  }

  package func handler(label: String) -> any LogHandler {
    let level = label == LogLabel.access ? configuration.accessLevel ?? configuration.level : configuration.level
    return SwerveLogHandler(label: label, logLevel: level, configuration: configuration, sink: self)
  }

  fileprivate func emit(_ text: String) { lock.withLock { _ in output(text) } }
}

/// One logger's handler; `LogSink.handler` makes it.
struct SwerveLogHandler: LogHandler {
  let label: String
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?
  let configuration: LogConfiguration
  let sink: LogSink

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
    if let own = event.metadata { all.merge(own) { _, new in new } }
    // hummingbird numbers its requests; ours have ids of their own.
    all["hb.request.id"] = nil
    switch configuration.format {
    case .text: sink.emit(text(event, all))
    case .json: sink.emit(json(event, all))
    }
  }

  /// `(ROLE pid=N) LEVEL MM-DD HH:MM:SS [module:line] message`; continuation lines repeat what is before the message.
  /// Access lines keep the shape that log readers know from other servers: `INFO:     ADDRESS - "…" STATUS`.
  private func text(_ event: LogEvent, _ metadata: Logger.Metadata) -> String {
    let name = Self.name(of: event.level)
    let level = configuration.usesColor ? "\(Self.color(of: event.level))\(name)\u{1B}[0m" : name
    var head = "\(configuration.prefix)(\(configuration.role) pid=\(getpid())) "
    if label == LogLabel.access {
      head += "\(level):     "
    } else {
      head += "\(level) \(WallClock.shortLocal()) [\(Self.module(event.file)):\(event.line)] "
    }
    var message = "\(event.message)"
    if let error = event.error { message += " error=\(error)" }
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { message += " \(key)=\(value)" }
    return message.split(separator: "\n", omittingEmptySubsequences: false).map { head + $0 + "\n" }.joined()
  }

  private func json(_ event: LogEvent, _ metadata: Logger.Metadata) -> String {
    var object: JSONObject = [
      "ts": .string(WallClock.rfc3339()), "level": .string(Self.name(of: event.level)), "logger": .string(label),
      "pid": .int(Int(getpid())), "role": .string(configuration.role), "msg": .string("\(event.message)"),
    ]
    if let error = event.error { object["error"] = .string("\(error)") }
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { object[key] = .string("\(value)") }
    return JSON.object(object).text + "\n"
  }

  /// The file's name without folder and extension.
  private static func module(_ file: String) -> Substring {
    let name = file.split(separator: "/").last ?? ""
    return name.split(separator: ".").first ?? name
  }

  private static func name(of level: Logger.Level) -> String {
    switch level {
    case .trace: "TRACE"
    case .debug: "DEBUG"
    case .info: "INFO"
    case .notice: "NOTICE"
    case .warning: "WARNING"
    case .error: "ERROR"
    case .critical: "CRITICAL"
    }
  }

  private static func color(of level: Logger.Level) -> String {
    switch level {
    case .trace, .debug: "\u{1B}[37m"
    case .info, .notice: "\u{1B}[32m"
    case .warning: "\u{1B}[33m"
    case .error, .critical: "\u{1B}[31m"
    }
  }
}
