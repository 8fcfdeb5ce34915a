/// Lines over logarithmic axes as SVG text: just what the plots of this benchmark need.
struct Chart {
  struct Series {
    var name: String
    var color: String
    var isDashed = false
    var points: [(x: Double, y: Double)]
  }

  var title: String
  var xLabel: String
  var yLabel: String
  var series: [Series]

  private let width = 760.0
  private let height = 420.0
  private let left = 90.0
  private let right = 20.0
  private let top = 40.0
  private let bottom = 130.0

  var svg: String {
    let all = series.flatMap(\.points)
    let (x0, x1) = Self.decades(all.map(\.x))
    let (y0, y1) = Self.decades(all.map(\.y))
    func px(_ x: Double) -> Double { left + (Self.log(x) - x0) / (x1 - x0) * (width - left - right) }
    func py(_ y: Double) -> Double { height - bottom - (Self.log(y) - y0) / (y1 - y0) * (height - top - bottom) }
    var out = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(Int(width)) \(Int(height))\" "
        + "font-family=\"sans-serif\" font-size=\"12\">",
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
      "<text x=\"\(Int(left))\" y=\"22\" font-size=\"15\">\(Self.escaped(title))</text>",
    ]
    for decade in Int(x0)...Int(x1) {
      let x = Self.text(px(Self.power(decade)))
      out.append(
        "<line x1=\"\(x)\" x2=\"\(x)\" y1=\"\(Int(top))\" y2=\"\(Int(height - bottom))\" stroke=\"#ddd\"/>"
          + "<text x=\"\(x)\" y=\"\(Int(height - bottom + 16))\" text-anchor=\"middle\">\(Self.label(decade))</text>")
    }
    for decade in Int(y0)...Int(y1) {
      let y = Self.text(py(Self.power(decade)))
      out.append(
        "<line x1=\"\(Int(left))\" x2=\"\(Int(width - right))\" y1=\"\(y)\" y2=\"\(y)\" stroke=\"#ddd\"/>"
          + "<text x=\"\(Int(left - 8))\" y=\"\(y)\" dy=\"4\" text-anchor=\"end\">\(Self.label(decade))</text>")
    }
    out.append(
      "<text x=\"\(Int((left + width - right) / 2))\" y=\"\(Int(height - bottom + 34))\" text-anchor=\"middle\">"
        + "\(Self.escaped(xLabel))</text>"
        + "<text transform=\"translate(18 \(Int((top + height - bottom) / 2))) rotate(-90)\" text-anchor=\"middle\">"
        + "\(Self.escaped(yLabel))</text>")
    for (index, line) in series.enumerated() {
      let path = line.points.map { "\(Self.text(px($0.x))),\(Self.text(py($0.y)))" }.joined(separator: " ")
      let dash = line.isDashed ? " stroke-dasharray=\"6 4\"" : ""
      out.append("<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(line.color)\" stroke-width=\"2\"\(dash)/>")
      let y = Int(height - bottom + 54) + index / 2 * 18
      let x = Int(left) + index % 2 * 330
      out.append(
        "<line x1=\"\(x)\" x2=\"\(x + 24)\" y1=\"\(y - 4)\" y2=\"\(y - 4)\" stroke=\"\(line.color)\" stroke-width=\"2\"\(dash)/>"
          + "<text x=\"\(x + 30)\" y=\"\(y)\">\(Self.escaped(line.name))</text>")
    }
    return (out + ["</svg>", ""]).joined(separator: "\n")
  }

  // MARK: Numbers

  /// Whole decades around the values.
  private static func decades(_ values: [Double]) -> (Double, Double) {
    let logs = values.filter { $0 > 0 }.map { log($0) }
    let low = (logs.min() ?? 0).rounded(.down)
    let high = (logs.max() ?? 1).rounded(.up)
    return (low, max(high, low + 1))
  }

  /// To the base of ten, by repeated division and a series: exact enough for a pixel.
  private static func log(_ value: Double) -> Double {
    var mantissa = value
    var exponent = 0.0
    while mantissa >= 10 {
      mantissa /= 10
      exponent += 1
    }
    while mantissa < 1 {
      mantissa *= 10
      exponent -= 1
    }
    // ln m = 2 artanh((m − 1) / (m + 1))
    let ratio = (mantissa - 1) / (mantissa + 1)
    var term = ratio
    var sum = 0.0
    for index in stride(from: 1.0, to: 400, by: 2) {
      sum += term / index
      term *= ratio * ratio
    }
    return exponent + 2 * sum / 2.302_585_092_994_046
  }

  private static func power(_ decade: Int) -> Double {
    var value = 1.0
    for _ in 0..<abs(decade) { value *= 10 }
    return decade < 0 ? 1 / value : value
  }

  private static func label(_ decade: Int) -> String {
    switch decade {
    case 0: "1"
    case 1: "10"
    case 2: "100"
    case 3: "1 000"
    default: "1e\(decade)"
    }
  }

  private static func text(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(abs(tenths % 10))"
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
  }
}
