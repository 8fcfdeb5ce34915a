import SwerveCore

/// One value given to one flag.
package struct Assignment: Sendable {
  package enum Source: Int, Sendable, Comparable {
    case file, environment, commandLine
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  }

  var flag: Flag
  /// Members below the flag's JSON object (`--flag.a.b`); empty = the whole value.
  var path: [String] = []
  var value: FlagValue
  /// How it was written, for messages: `--flag`, `SWERVE_FLAG`, `file.yaml: flag`.
  var written: String
  var source: Source
}

/// What the words of a command line say, before anything is applied.
package struct ParsedArguments: Sendable {
  package var assignments: [Assignment] = []
  package var positionals: [String] = []
  package var problems: [String] = []
  /// `--help` was given: with a section's or flag's name, or empty.
  package var help: String?
  package var wantsVersion = false
}

extension ParsedArguments {
  /// Reads `arguments` by the rows of `table`. Never throws: every problem is one sentence in `problems`.
  package init(_ arguments: [String], table: FlagTable) {
    var words = arguments[...]
    while let word = words.popFirst() {
      if word == "--" {
        positionals += words
        return
      }
      guard Self.isFlag(word) else {
        positionals.append(word)
        continue
      }
      take(word, words: &words, table: table)
    }
  }

  /// Whether a word is a flag and not a value: `-1` and `-` are values.
  static func isFlag(_ word: String) -> Bool {
    guard word.hasPrefix("-"), word != "-" else { return false }
    return Double(word) == nil && Flag.Kind.integer(word) == nil
  }

  private mutating func take(_ word: String, words: inout ArraySlice<String>, table: FlagTable) {
    let equals = word.firstIndex(of: "=")
    let left = equals.map { word[..<$0] } ?? word[...]
    let inline = equals.map { String(word[word.index(after: $0)...]) }
    let dashes = left.hasPrefix("--") ? 2 : 1
    let dotted = left.dropFirst(dashes).split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    let name = (dotted.first ?? "").replacing("_", with: "-")
    let path = Array(dotted.dropFirst())
    let written = String(left)

    switch (dashes, name) {
    case (2, "help"), (1, "h"):
      help = inline ?? ""
      return
    case (2, "version"), (1, "v"):
      wantsVersion = true
      return
    default: break
    }
    let found =
      dashes == 1
      ? table.flag(shortNamed: name).map { ($0, false) } ?? (name.count > 1 ? table.flag(named: name) : nil)
      : table.flag(named: name)
    guard let (flag, isOpposite) = found else {
      let nearest = dashes == 2 || name.count > 1 ? table.nearest(to: name) : nil
      problems.append("there is no flag \(written)" + (nearest.map { "; did you mean --\($0)?" } ?? "; see --help."))
      // A value that was meant for it would be taken for the model's name.
      if inline == nil, let next = words.first, !Self.isFlag(next) { words.removeFirst() }
      return
    }
    if !path.isEmpty, flag.kind != .json || path.contains("") {
      problems.append("\(written): only flags with a JSON value have members; --\(flag.name) has none.")
      return
    }
    do {
      let value = try Self.value(of: flag, path: path, inline: inline, isOpposite: isOpposite, words: &words)
      assignments.append(
        Assignment(flag: flag, path: path, value: value, written: written, source: .commandLine))
    } catch {
      problems.append("\(written) \(error.description).")
    }
  }

  private static func value(
    of flag: Flag, path: [String], inline: String?, isOpposite: Bool, words: inout ArraySlice<String>
  ) throws(FlagError) -> FlagValue {
    if case .bool = flag.kind {
      var text = inline
      if text == nil, let next = words.first, ["true", "false"].contains(next.lowercased()) {
        text = words.removeFirst()
      }
      guard case .bool(let value) = try flag.kind.parse(text ?? "true") else { return .bool(false) }
      return .bool(value != isOpposite)
    }
    guard let first = inline ?? words.first, inline != nil || !isFlag(first) else {
      throw FlagError("needs a value: \(flag.kind.placeholder)")
    }
    if inline == nil { words.removeFirst() }
    if !path.isEmpty { return .json(member(first)) }
    if case .json = flag.kind, first.hasPrefix("@") {
      return try flag.kind.parse(try TextFile.read(String(first.dropFirst())))
    }
    guard case .list(var items) = try flag.kind.parse(first) else { return try flag.kind.parse(first) }
    while inline == nil, let next = words.first, !isFlag(next), next != "--" {
      items.append(next)
      words.removeFirst()
    }
    return .list(items)
  }

  /// The value of a member: JSON where it is JSON, else the text itself.
  static func member(_ text: String) -> JSON {
    // Text that is no JSON is meant as it stands; there is no error to report.
    (try? JSON(parsing: text)) ?? .string(text)
  }
}
