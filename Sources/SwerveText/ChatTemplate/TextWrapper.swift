/// Fills lines with words as Python's `textwrap.wrap` does (tabs and other white space left as they are).
struct TextWrapper {
  var width: Int
  var breaksLongWords: Bool
  var breaksOnHyphens: Bool

  func wrap(_ text: [Unicode.Scalar]) -> [[Unicode.Scalar]] {
    var chunks = Array(chunks(of: text).reversed())
    var lines: [[Unicode.Scalar]] = []
    while !chunks.isEmpty {
      var line: [ArraySlice<Unicode.Scalar>] = []
      var length = 0
      if let last = chunks.last, Self.isBlank(last), !lines.isEmpty { chunks.removeLast() }
      while let next = chunks.last, length + next.count <= width {
        line.append(next)
        length += next.count
        chunks.removeLast()
      }
      if let long = chunks.last, long.count > width {
        let room = max(1, width - length)
        if breaksLongWords {
          let cut = cutPoint(long, room)
          line.append(long[..<cut])
          chunks[chunks.count - 1] = long[cut...]
        } else if line.isEmpty {
          line.append(chunks.removeLast())
        }
      }
      if let last = line.last, Self.isBlank(last) { line.removeLast() }
      if !line.isEmpty { lines.append(Array(line.joined())) }
    }
    return lines
  }

  private static func isBlank(_ chunk: ArraySlice<Unicode.Scalar>) -> Bool { chunk.allSatisfy(\.isPythonSpace) }

  /// Where to cut a word that does not fit: after its last hyphen within the room, if letters come before it.
  private func cutPoint(_ word: ArraySlice<Unicode.Scalar>, _ room: Int) -> Int {
    let head = word.prefix(room)
    if breaksOnHyphens, word.count > room, let hyphen = head.lastIndex(of: "-"),
      head[..<hyphen].contains(where: { $0 != "-" })
    {
      return hyphen + 1
    }
    return head.endIndex
  }

  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool { "\t\n\u{B}\u{C}\r ".unicodeScalars.contains(scalar) }

  /// Words and the white space between them; a word also ends after a hyphen between letters.
  private func chunks(of text: [Unicode.Scalar]) -> [ArraySlice<Unicode.Scalar>] {
    var chunks: [ArraySlice<Unicode.Scalar>] = []
    var start = 0
    for place in text.indices {
      if place > start, Self.isSpace(text[place - 1]) != Self.isSpace(text[place]) {
        chunks.append(text[start..<place])
        start = place
      }
      let isLetter = { (index: Int) in text.indices.contains(index) && text[index].isPythonAlpha }
      if breaksOnHyphens, text[place] == "-", isLetter(place - 1), isLetter(place - 2), isLetter(place + 1),
        isLetter(place + 2)
      {
        chunks.append(text[start...place])
        start = place + 1
      }
    }
    if start < text.count { chunks.append(text[start...]) }
    return chunks
  }
}
