/// What the request journal holds and does.
package struct JournalStatistics: Sendable, Hashable {
  /// Whether what happens is still written.
  package var isOn: Bool
  /// Bytes of its file.
  package var writtenBytes: Int
  /// Requests that are known.
  package var requests: Int
  /// Requests that went on with what was known of them, and answers that were given again.
  package var resumed: Int
  package var replayed: Int

  package init(isOn: Bool, writtenBytes: Int, requests: Int, resumed: Int, replayed: Int) {
    self.isOn = isOn
    self.writtenBytes = writtenBytes
    self.requests = requests
    self.resumed = resumed
    self.replayed = replayed
  }
}
