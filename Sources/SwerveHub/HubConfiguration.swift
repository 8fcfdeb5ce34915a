/// Where the Hub is, who asks, and where files are kept. The command fills it from flags and environment.
package struct HubConfiguration: Sendable {
  /// Without a slash at the end (`HF_ENDPOINT`).
  package var endpoint = "https://huggingface.co"
  /// Sent to the endpoint's own host only (`HF_TOKEN`, `--hf-token`).
  package var token: String?
  /// No request at all: only what the cache holds (`HF_HUB_OFFLINE`, `--offline`).
  package var offline = false
  /// The folder with `models--org--name` inside (`HF_HUB_CACHE`, `$HF_HOME/hub`, `--download-dir`).
  package var cacheFolder: String
  /// Seconds until a connection must stand.
  package var connectTimeout = 10.0
  /// Seconds without a byte after which a transfer counts as cut.
  package var readTimeout = 30.0
  /// Tries of one request that bring no progress before giving up. ≥ 1
  package var attempts = 5
  /// Seconds before the second try; doubles with each further one, up to 15 s.
  package var retryDelay = 0.5
  /// Files that are transferred at the same time. ≥ 1
  package var parallelFiles = 4

  package init(cacheFolder: String) { self.cacheFolder = cacheFolder }
}

/// How far a download is. Bytes count what was on disk before as done.
package struct HubProgress: Sendable, Hashable {
  /// The file that moved last.
  package var file: String
  package var bytesDone: Int
  package var bytesTotal: Int
  package var filesDone: Int
  package var filesTotal: Int
}

/// Which of a repository's files are wanted.
package enum HubFileSet: Sendable, Hashable {
  /// Configuration, tokenizer, templates and weights.
  case model
  /// Everything but the weights.
  case tokenizer
}
