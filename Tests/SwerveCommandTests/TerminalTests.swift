import SwerveCommand
import Testing

@Suite struct TerminalTests {
  @Test func elsewhereThanOnATerminalProgressIsAFewPlainLines() {
    var renderer = ProgressRenderer(label: "downloading x", unit: .bytes, columns: nil)
    var text = ""
    for step in 0...100 { text += renderer.update(done: step << 20, total: 100 << 20, now: Double(step) / 10) }
    text += renderer.update(done: 100 << 20, total: 100 << 20, now: 11)
    text += renderer.finish()
    let lines = text.split(separator: "\n")
    #expect(lines.count == 5)
    #expect(lines[0] == "downloading x: 20% (20.0 MiB of 100.0 MiB, 10.0 MiB/s, 0:08 left)")
    #expect(lines[4] == "downloading x: 100% (100.0 MiB of 100.0 MiB, 10.0 MiB/s)")
    #expect(!text.contains("\r") && !text.contains("\u{1B}"))
  }

  @Test func slowWorkShowsALineEveryTenSeconds() {
    var renderer = ProgressRenderer(label: "x", unit: .count("runs"), columns: nil)
    var shown = 0
    for second in 0..<60 where !renderer.update(done: 0, total: 10, now: Double(second)).isEmpty { shown += 1 }
    #expect(shown == 6)
  }

  @Test func onATerminalABarRedrawsItselfAtMostTenTimesASecond() {
    var renderer = ProgressRenderer(label: "serve", unit: .count("requests"), columns: 100)
    var updates: [String] = []
    for step in 0..<1000 {
      let text = renderer.update(done: step, total: 1000, now: Double(step) / 1000)
      if !text.isEmpty { updates.append(text) }
    }
    #expect((9...11).contains(updates.count))
    #expect(updates.allSatisfy { $0.hasPrefix("\r") && $0.hasSuffix("\u{1B}[K") })
    let last = renderer.update(done: 1000, total: 1000, now: 2)
    #expect(last == "\rserve 100% [\(String(repeating: "#", count: 30))] (1000 of 1000 requests, 500.00/s)\u{1B}[K")
    #expect(renderer.finish() == "\n")
    #expect(renderer.finish().isEmpty)
  }

  @Test(arguments: [10, 20, 40, 60, 80, 200])
  func theBarFitsTheTerminal(_ columns: Int) {
    var renderer = ProgressRenderer(label: "downloading org/name", unit: .bytes, columns: columns)
    let text = renderer.update(done: 5 << 30, total: 9 << 30, now: 1).filter { $0 != "\r" }
    #expect(text.dropLast(3).count < columns)
  }

  @Test func aLoadWithoutATotalShowsWhatIsDone() {
    var renderer = ProgressRenderer(label: "x", unit: .bytes, columns: nil)
    #expect(renderer.update(done: 1024, total: 0, now: 1).isEmpty)
    #expect(renderer.update(done: 20480, total: 0, now: 21) == "x: (20.0 KiB, 1.00 KiB/s)\n")
  }

  @Test func workThatIsOverAtOnceLeavesNoLine() {
    var renderer = ProgressRenderer(label: "loading", unit: .percent, columns: nil)
    var text = ""
    for step in 0...10 { text += renderer.update(done: step, total: 10, now: Double(step) / 20) }
    #expect(text.isEmpty)
  }

  @Test func numbersReadAsPeopleWriteThem() {
    #expect(Format.fixed(2.345, 2) == "2.35" || Format.fixed(2.345, 2) == "2.34")
    #expect(
      Format.fixed(-0.5, 1) == "-0.5" && Format.fixed(1e9, 0) == "1000000000" && Format.fixed(.infinity, 2) == "inf")
    #expect(Format.bytes(0) == "0 B" && Format.bytes(1536) == "1.50 KiB" && Format.bytes(20 << 30) == "20.0 GiB")
    #expect(Format.duration(0) == "0:00" && Format.duration(67) == "1:07" && Format.duration(3723) == "1:02:03")
    #expect(Format.duration(36610) == "10:10:10" && Format.duration(.infinity) == "?")
    #expect(Format.centred(" a ", width: 8, fill: "=") == "== a ===")
  }
}

@Suite struct ServerSentEventTests {
  static let stream =
    "data: {\"a\":1}\n\n: comment\n\nevent: x\ndata: one\ndata:two\r\n\r\nid: 3\n\ndata\n\ndata: last\r\rdata: half"
  static let events = [#"{"a":1}"#, "one\ntwo", "", "last"]

  @Test(arguments: [1, 2, 3, 5, 7, 1000])
  func eventsDoNotDependOnThePieces(_ size: Int) throws {
    var parser = ServerSentEvents()
    var events: [String] = []
    let bytes = Array(Self.stream.utf8)
    var start = 0
    while start < bytes.count {
      events += try parser.append(bytes[start..<min(bytes.count, start + size)])
      start += size
    }
    #expect(events == Self.events)
  }

  @Test func anythingIsSurvived() throws {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: Int(truncatingIfNeeded: seed))
    for _ in 0..<200 {
      var parser = ServerSentEvents()
      let alphabet = Array("data: \n\r:x\u{0}\u{7f}".utf8) + [0xFF, 0xC3]
      let bytes = (0..<200).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
      let whole = try parser.append(bytes)
      var pieces = ServerSentEvents()
      var found: [String] = []
      for byte in bytes { found += try pieces.append([byte]) }
      #expect(found == whole)
    }
  }
}
