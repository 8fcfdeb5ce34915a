import SwerveEngine
import Testing

@Suite struct StopStringsTests {
  /// Text in pieces of the given sizes (Unicode scalars), then the end.
  private func run(_ text: String, pieces: [Int], stops: [String], keeps: Bool = false) -> (String, String?) {
    var watcher = StopStrings(stops, keepsMatch: keeps)
    var scalars = Array(text.unicodeScalars)[...]
    var visible = ""
    var place = 0
    while !scalars.isEmpty {
      let size = pieces[place % pieces.count]
      place += 1
      var piece = String.UnicodeScalarView()
      piece.append(contentsOf: scalars.prefix(size))
      scalars = scalars.dropFirst(size)
      let outcome = watcher.append(String(piece))
      visible += outcome.visible
      if let match = outcome.match { return (visible, match) }
    }
    return (visible + watcher.flush(), nil)
  }

  @Test(arguments: [[1], [2], [3], [1, 4], [100]])
  func splittingDoesNotChangeTheOutcome(pieces: [Int]) {
    #expect(run("one two three", pieces: pieces, stops: ["two"]) == ("one ", "two"))
    #expect(run("one two three", pieces: pieces, stops: ["two"], keeps: true) == ("one two", "two"))
    #expect(run("one two three", pieces: pieces, stops: ["four"]) == ("one two three", nil))
    #expect(run("aaab", pieces: pieces, stops: ["aab"]) == ("a", "aab"))
    #expect(run("a\u{1F600}b\u{1F601}c", pieces: pieces, stops: ["\u{1F601}"]) == ("a\u{1F600}b", "\u{1F601}"))
  }

  @Test func theEarliestMatchWinsAndAtOnePlaceTheFirstInTheList() {
    #expect(run("abcdef", pieces: [100], stops: ["de", "bc"]) == ("a", "bc"))
    #expect(run("abcdef", pieces: [100], stops: ["bcd", "bc"]) == ("a", "bcd"))
  }

  @Test func nothingOfAPossibleStopStringIsEverSent() {
    var watcher = StopStrings(["END!"], keepsMatch: false)
    #expect(watcher.append("abcEN") == .init(visible: "ab", match: nil))
    #expect(watcher.append("Dx") == .init(visible: "cE", match: nil))
    #expect(watcher.flush() == "NDx")
  }

  @Test func uncheckedTextCannotTakePartInAMatch() {
    var watcher = StopStrings(["stop"], keepsMatch: false)
    #expect(watcher.append("a stop", isChecking: false) == .init(visible: "a stop", match: nil))
    #expect(watcher.append("st", isChecking: false) == .init(visible: "st", match: nil))
    #expect(watcher.append("op stop").match == "stop")
  }
}
