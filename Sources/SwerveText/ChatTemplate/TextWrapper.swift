/// Fills lines with words as Python's `textwrap.wrap` does (tabs and other white space left as they are).
struct TextWrapper {
  var width: Int
  var breaksLongWords: Bool
  var breaksOnHyphens: Bool

  func wrap(_ text: [Unicode.Scalar]) -> [[Unicode.Scalar]] {
    var chunks = Array(chunks(of: text).reversed())
    var lines: [[Unicode.Scalar]] = []
    while !chunks.isEmpty {
      var line: [[Unicode.Scalar]] = []
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
          line.append(Array(long[..<cut]))
          chunks[chunks.count - 1] = Array(long[cut...])
        } else if line.isEmpty {
          line.append(chunks.removeLast())
        }
      }
      if let last = line.last, Self.isBlank(last) { line.removeLast() }
      if !line.isEmpty { lines.append(Array(line.joined())) }
    }
    return lines
  }

  private static func isBlank(_ chunk: [Unicode.Scalar]) -> Bool { chunk.allSatisfy(\.isPythonSpace) }

  /// Where to cut a word that does not fit: after its last hyphen within the room, if letters come before it.
  private func cutPoint(_ word: [Unicode.Scalar], _ room: Int) -> Int {
    if breaksOnHyphens, word.count > room, let hyphen = word[..<room].lastIndex(of: "-"), hyphen > 0,
      word[..<hyphen].contains(where: { $0 != "-" })
    {
      return hyphen + 1
    }
    return min(room, word.count)
  }

  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool { "\t\n\u{B}\u{C}\r ".unicodeScalars.contains(scalar) }

  /// Words and the white space between them; a word also ends after a hyphen between letters.
  private func chunks(of text: [Unicode.Scalar]) -> [[Unicode.Scalar]] {
    var chunks: [[Unicode.Scalar]] = []
    var chunk: [Unicode.Scalar] = []
    for place in text.indices {
      if let last = chunk.last, Self.isSpace(last) != Self.isSpace(text[place]) {
        chunks.append(chunk)
        chunk = []
      }
      chunk.append(text[place])
      let isLetter = { (index: Int) in text.indices.contains(index) && text[index].isPythonAlpha }
      if breaksOnHyphens, text[place] == "-", isLetter(place - 1), isLetter(place - 2), isLetter(place + 1),
        isLetter(place + 2)
      {
        chunks.append(chunk)
        chunk = []
      }
    }
    if !chunk.isEmpty { chunks.append(chunk) }
    return chunks
  }
}
