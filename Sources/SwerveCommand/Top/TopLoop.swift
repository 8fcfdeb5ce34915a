// The live view of a server. This folder reads a server's metrics page and knows nothing of engines.
// Start with TopLoop, then MetricsPage, TopSnapshot and TopView: page → numbers → lines.

/// Asks a server again and again and shows what it says.
package struct TopLoop: Sendable {
  private let client: OpenAIClient
  private let settings: TopSettings
  private let console: Console
  /// The terminal's size now; nil where there is none.
  private let size: @Sendable () -> TerminalSize?

  package init(
    client: OpenAIClient, settings: TopSettings, console: Console,
    size: @escaping @Sendable () -> TerminalSize? = { TerminalSize.current() }
  ) {
    self.client = client
    self.settings = settings
    self.console = console
    self.size = size
  }

  /// Until it is cancelled, or once with `--once`. A server that does not answer is asked again, but with `--once`: then
  /// its error is thrown.
  package func run() async throws {
    var view = TopView(url: settings.url)
    var last: [String] = []
    while !Task.isCancelled {
      var notes: [String] = []
      do {
        let page = try MetricsPage(try await client.text("/metrics"))
        let snapshot = try TopSnapshot(page, time: Clock.now(), unixTime: Double(UnixTime.seconds()))
        last = view.lines(snapshot)
      } catch let error as RemoteError {
        if settings.once { throw error }
        notes = ["\(error) Asking again every \(Format.fixed(settings.interval, 1)) s.", ""]
      }
      show(notes, last)
      if settings.once { return }
      do { try await Task.sleep(for: .seconds(settings.interval)) } catch { return }
    }
  }

  /// On a terminal each frame replaces the one before and fits the window; elsewhere frames follow one another.
  private func show(_ notes: [String], _ lines: [String]) {
    guard !settings.once, let size = size() else {
      // A log needs no repetition of what it said before.
      let frame = notes.isEmpty ? lines : Array(notes.prefix(1))
      return console.write(frame.joined(separator: "\n") + (settings.once ? "\n" : "\n\n"))
    }
    let shown = TopView.fitted(notes + lines, columns: size.columns, rows: size.rows - 1)
    console.write("\u{1B}[H" + shown.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J")
  }
}
