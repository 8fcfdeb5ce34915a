package import Metrics
import Synchronization

/// The two text formats a scraper may ask for.
package enum MetricsFormat: Sendable {
  /// Prometheus text format 0.0.4.
  case text
  /// OpenMetrics 1.0.
  case openMetrics

  var contentType: String {
    switch self {
    case .text: "text/plain; version=0.0.4; charset=utf-8"
    case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
    }
  }
}

/// All metrics of a process and their text form. Also the swift-metrics factory, so that packages below us that use the
/// facade show up on the same page.
///
/// A family exists once by name; a series once by name and labels. Asking again answers the same object, so callers
/// keep what they got and touch the registry's lock once.
package final class PrometheusRegistry: MetricsFactory, Sendable {
  private enum Kind: String { case counter, gauge, histogram }

  private enum Series {
    case counter(CounterMetric)
    case gauge(GaugeMetric)
    case histogram(HistogramMetric)
  }

  private struct Family {
    var kind: Kind
    var help: String
    /// Rendered labels (`a="1",b="2"`) in order of creation.
    var series: [(labels: String, value: Series)] = []
  }

  private struct State {
    var families: [String: Family] = [:]
    var order: [String] = []
    /// Older names under which a family is shown again.
    var aliases: [(name: String, original: String)] = []
  }

  private let state = Mutex(State())

  package init() {}

  // MARK: Series

  package func counter(_ name: String, help: String, labels: [(String, String)] = []) -> CounterMetric {
    let found = series(name, .counter, help, labels) { .counter(CounterMetric()) }
    if case .counter(let metric)? = found { return metric }
    return CounterMetric()
  }

  package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> GaugeMetric {
    let found = series(name, .gauge, help, labels) { .gauge(GaugeMetric()) }
    if case .gauge(let metric)? = found { return metric }
    return GaugeMetric()
  }

  package func histogram(
    _ name: String, help: String, bounds: [Double], labels: [(String, String)] = []
  ) -> HistogramMetric {
    let found = series(name, .histogram, help, labels) { .histogram(HistogramMetric(bounds: bounds)) }
    if case .histogram(let metric)? = found { return metric }
    return HistogramMetric(bounds: bounds)
  }

  /// Shows a family under a second name as well.
  package func alias(_ name: String, of original: String) {
    state.withLock { $0.aliases.append((name, original)) }
  }

  /// nil when the name is taken by a family of another kind: such a metric works but is not shown.
  private func series(
    _ name: String, _ kind: Kind, _ help: String, _ labels: [(String, String)], make: () -> Series
  ) -> Series? {
    let text = labels.map { "\(Self.sanitised($0.0, isLabel: true))=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
    return state.withLock { state in
      if state.families[name] == nil {
        state.families[name] = Family(kind: kind, help: help)
        state.order.append(name)
      }
      guard var family = state.families[name], family.kind == kind else { return nil }
      if let known = family.series.first(where: { $0.labels == text }) { return known.value }
      let value = make()
      family.series.append((text, value))
      state.families[name] = family
      return value
    }
  }

  private func remove(_ metric: AnyObject) {
    state.withLock { state in
      for name in state.order {
        state.families[name]?.series.removeAll { series in
          switch series.value {
          case .counter(let own): own === metric
          case .gauge(let own): own === metric
          case .histogram(let own): own === metric
          }
        }
      }
    }
  }

  // MARK: swift-metrics

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    counter(Self.sanitised(label), help: label, labels: dimensions)
  }

  package func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    counter(Self.sanitised(label), help: label, labels: dimensions)
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    gauge(Self.sanitised(label), help: label, labels: dimensions)
  }

  package func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    if !aggregate { return gauge(Self.sanitised(label), help: label, labels: dimensions) }
    return histogram(Self.sanitised(label), help: label, bounds: MetricBounds.seconds, labels: dimensions)
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    histogram(Self.sanitised(label), help: label, bounds: MetricBounds.seconds, labels: dimensions)
  }

  package func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
  package func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
  package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
  package func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
  package func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

  // MARK: Text

  package func render(_ format: MetricsFormat) -> String {
    let (families, aliases) = state.withLock { state in
      (state.order.compactMap { name in state.families[name].map { (name, $0) } }, state.aliases)
    }
    var out = ""
    for (name, family) in families {
      Self.render(family, name: name, format, to: &out)
      for alias in aliases where alias.original == name {
        Self.render(family, name: alias.name, format, to: &out)
      }
    }
    if format == .openMetrics { out += "# EOF\n" }
    return out
  }

  private static func render(_ family: Family, name: String, _ format: MetricsFormat, to out: inout String) {
    // Counters are samples with the suffix _total; only the older format repeats it in the family's name.
    let sample = family.kind == .counter ? "\(name)_total" : name
    let title = format == .text ? sample : name
    out += "# HELP \(title) \(escapedHelp(family.help))\n# TYPE \(title) \(family.kind.rawValue)\n"
    for (labels, series) in family.series {
      switch series {
      case .counter(let metric): out += line(sample, labels, metric.value)
      case .gauge(let metric): out += line(sample, labels, metric.value)
      case .histogram(let metric): render(metric.snapshot, name, labels, to: &out)
      }
    }
  }

  private static func render(
    _ histogram: HistogramMetric.Snapshot, _ name: String, _ labels: String, to out: inout String
  ) {
    let front = labels.isEmpty ? "" : labels + ","
    var cumulative = 0
    for (place, count) in histogram.counts.enumerated() {
      cumulative += count
      let bound = place < histogram.bounds.count ? number(histogram.bounds[place]) : "+Inf"
      out += "\(name)_bucket{\(front)le=\"\(bound)\"} \(number(Double(cumulative)))\n"
    }
    out += line("\(name)_count", labels, Double(cumulative))
    out += line("\(name)_sum", labels, histogram.sum)
  }

  private static func line(_ name: String, _ labels: String, _ value: Double) -> String {
    labels.isEmpty ? "\(name) \(number(value))\n" : "\(name){\(labels)} \(number(value))\n"
  }

  private static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return value.description
  }

  /// Label values: backslash, quote and line feed are escaped.
  private static func escaped(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": out += "\\\\"
      case "\"": out += "\\\""
      case "\n": out += "\\n"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  private static func escapedHelp(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: " ")
  }

  /// Names may hold letters, digits and underscores (colons in metric names only) and must not begin with a digit.
  private static func sanitised(_ name: String, isLabel: Bool = false) -> String {
    var out = ""
    for scalar in name.unicodeScalars {
      let isAllowed = scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
      out.unicodeScalars.append(isAllowed || scalar == "_" || (scalar == ":" && !isLabel) ? scalar : "_")
    }
    if let first = out.unicodeScalars.first, first.properties.numericType != nil { out = "_" + out }
    return out.isEmpty ? "_" : out
  }
}
