/// What surrounds a text's ids: special tokens before and behind, as a template.
struct PostProcessor: Sendable {
  enum Item: Sendable, Equatable {
    case text
    case special([Int32])
  }

  /// Applied one after the other; each one's text is the result of the one before.
  var templates: [[Item]] = []

  func apply(to ids: [Int32], addsSpecial: Bool) -> [Int32] {
    var result = ids
    for template in templates {
      if template == [.text] { continue }
      var out: [Int32] = []
      out.reserveCapacity(result.count + template.count)
      for item in template {
        switch item {
        case .text: out.append(contentsOf: result)
        case .special(let special): if addsSpecial { out.append(contentsOf: special) }
        }
      }
      result = out
    }
    return result
  }
}
