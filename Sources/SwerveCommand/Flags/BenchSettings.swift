package import SwerveCore

/// What the benchmarks are told. Members that several of them share have one name.
package struct BenchSettings: Sendable {
  package init() {}

  // Sizes
  package var inputLength = 32
  package var outputLength = 128
  package var batchSize = 8
  package var n = 1
  package var useBeamSearch = false
  package var prefixLength = 0
  package var disableDetokenize = false
  package var iterationsWarmup: Int?
  package var iterations = 30
  package var iterationsCold = 3
  package var iterationsWarm = 3
  package var outputJSON: String?

  // Data
  package var datasetName: String?
  package var datasetPath: String?
  package var promptCount = 1000
  package var warmups = 0
  /// Overrides what the data set says.
  package var fixedOutputLength: Int?
  package var randomInputLength = 1024
  package var randomOutputLength = 128
  package var randomRangeRatio = 0.0
  package var randomPrefixLength = 0
  package var repetitionPrefixLength = 256
  package var repetitionSuffixLength = 256
  package var repetitionPrefixes = 10
  package var repetitionOutputLength = 128
  package var requestsFile: String?

  // Perplexity
  package var textFile: String?
  package var contextTokens: Int?
  package var strideTokens: Int?
  package var limitTokens: Int?

  // Load
  package var backend = "openai"
  package var baseURL: String?
  package var host = "127.0.0.1"
  package var port = 8000
  package var endpoint: String?
  package var requestRate = Double.infinity
  package var burstiness = 1.0
  package var maxConcurrency: Int?
  package var rampUp: String?
  package var rampUpStart: Double?
  package var rampUpEnd: Double?
  package var seed = 0
  package var ignoreEos = false
  package var temperature: Double?
  package var topP: Double?
  package var topK: Int?
  package var extraBody = JSONObject()
  package var headers: [String] = []
  package var apiKey: String?
  package var insecure = false
  package var readyTimeout = 600.0

  // Report
  package var goodput: [String] = []
  package var percentileMetrics = ["ttft", "tpot", "itl", "e2el"]
  package var metricPercentiles = [99.0]
  package var savesResult = false
  package var savesDetails = false
  package var resultFolder: String?
  package var resultFile: String?
  package var metadata: [String] = []
}
