/// A page in the Prometheus text format, as far as samples go.
package struct MetricsPage: Sendable {
  package struct Sample: Sendable, Hashable {
    package var name: String
    package var labels: [String: String]
    package var value: Double
  }

  package private(set) var samples: [Sample] = []

  /// Throws `badAnswer` with the first line that is no sample.
  package init(_ text: String) throws(RemoteError) {
    for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
      guard let sample = Self.sample(line) else {
        throw .badAnswer("\(line.prefix(80).debugDescription) is no line of a metrics page")
      }
      samples.append(sample)
    }
  }

  /// The sum of a family's samples that have these labels; nil where there is none.
  package func sum(_ name: String, _ labels: [String: String] = [:]) -> Double? {
    let found = samples(name, labels)
    return found.isEmpty ? nil : found.reduce(0) { $0 + $1.value }
  }

  package func samples(_ name: String, _ labels: [String: String] = [:]) -> [Sample] {
    samples.filter { sample in sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value } }
  }

  /// `name{label="value",…} number`, and perhaps a time behind it.
  private static func sample(_ line: Substring) -> Sample? {
    var rest = line
    let name = rest.prefix { $0 != "{" && $0 != " " }
    rest = rest.dropFirst(name.count)
    var labels: [String: String] = [:]
    if rest.first == "{" {
      rest = rest.dropFirst()
      while rest.first != "}" {
        guard let (key, value) = label(&rest) else { return nil }
        labels[key] = value
        if rest.first == "," { rest = rest.dropFirst() }
      }
      rest = rest.dropFirst()
    }
    guard !name.isEmpty, let word = rest.split(separator: " ").first else { return nil }
    let number = word == "+Inf" ? Double.infinity : word == "-Inf" ? -Double.infinity : Double(word)
    return number.map { Sample(name: String(name), labels: labels, value: $0) }
  }

  /// Takes `key="value"` off the front.
  private static func label(_ rest: inout Substring) -> (String, String)? {
    let key = rest.prefix { $0 != "=" && $0 != "}" }
    rest = rest.dropFirst(key.count)
    guard !key.isEmpty, rest.hasPrefix("=\"") else { return nil }
    rest = rest.dropFirst(2)
    var value = ""
    while let character = rest.popFirst() {
      switch character {
      case "\"": return (String(key), value)
      case "\\":
        guard let escaped = rest.popFirst() else { return nil }
        value.append(escaped == "n" ? "\n" : escaped)
      default: value.append(character)
      }
    }
    return nil
  }
}
