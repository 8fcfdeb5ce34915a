import SwerveCore
import SwerveInference
import Testing

/// The README's table of supported models is the list of families, nothing else.
@Suite struct ReadmeTests {
  @Test func theTableOfSupportedModelsIsTheListOfFamilies() throws {
    let file = "\(#filePath)"
    let root = file.components(upTo: "/Tests/")
    let readme = try FileBytes(mapping: root + "/README.md").withBytes { String(decoding: $0, as: UTF8.self) }
    let begin = "<!-- supported models: begin (generated from ModelFamily.all; a test keeps it so) -->\n"
    let table = try #require(readme.between(begin, "<!-- supported models: end -->"))
    #expect(table == ModelFamily.table, "replace the section by:\n\(ModelFamily.table)")
  }
}

extension String {
  /// The text before the last occurrence of `mark`.
  fileprivate func components(upTo mark: String) -> String {
    var end = endIndex
    var place = startIndex
    while place < endIndex {
      if self[place...].hasPrefix(mark) { end = place }
      place = index(after: place)
    }
    return String(self[..<end])
  }

  fileprivate func between(_ begin: String, _ end: String) -> String? {
    var place = startIndex
    while place < endIndex {
      let rest = self[place...]
      if rest.hasPrefix(begin) {
        let inside = rest.dropFirst(begin.count)
        var stop = inside.startIndex
        while stop < inside.endIndex, !inside[stop...].hasPrefix(end) { stop = inside.index(after: stop) }
        return String(inside[..<stop])
      }
      place = index(after: place)
    }
    return nil
  }
}
