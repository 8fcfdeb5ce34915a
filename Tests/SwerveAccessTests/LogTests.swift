import Logging
import SwerveAccess
import SwerveCore
import Testing

@Suite struct LogTests {
  private func lines(_ configure: (inout LogConfiguration) -> Void, label: String = "x", _ write: (Logger) -> Void)
    -> [String]
  {
    let collected = LogLines()
    var configuration = LogConfiguration()
    configure(&configuration)
    let sink = LogSink(configuration) { collected.append($0) }
    write(Logger(label: label) { sink.handler(label: $0) })
    return collected.all
  }

  @Test func textLinesHaveRoleLevelTimeAndPlace() {
    let lines = lines({ $0.prefix = "p " }) { $0.warning("one\ntwo") }
    let pattern = #/p \(APIServer pid=\d+\) WARNING \d\d-\d\d \d\d:\d\d:\d\d \[LogTests:\d+\] one\n(p .*) two\n/#
    #expect(lines.count == 1)
    #expect(lines.first?.wholeMatch(of: pattern) != nil, "\(lines)")
  }

  @Test func jsonLinesParse() throws {
    let lines = lines({ $0.format = .json }) { $0.error("a \"b\"\nc", metadata: ["request_id": "r"]) }
    let line = try JSON(parsing: try #require(lines.first))
    #expect(line["level"] == "ERROR")
    #expect(line["msg"] == "a \"b\"\nc")
    #expect(line["request_id"] == "r")
    #expect(line["role"] == "APIServer")
    #expect(line["ts"]?.string?.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/#) != nil)
  }

  @Test func levelsAndColoursFollowTheConfiguration() {
    #expect(lines({ $0.level = .error }) { $0.info("x") }.isEmpty)
    #expect(lines({ $0.accessLevel = .error }, label: LogLabel.access) { $0.info("x") }.isEmpty)
    #expect(lines({ $0.usesColor = true }) { $0.info("x") }.first?.contains("\u{1B}[32mINFO\u{1B}[0m") == true)
    #expect(lines({ $0.usesColor = false }) { $0.info("x") }.first?.contains("\u{1B}") == false)
  }

  @Test func configurationProblemsNameTheirFlags() {
    var configuration = ServerConfiguration()
    #expect(configuration.problems().isEmpty)
    configuration.port = 70_000
    configuration.rootPath = "x"
    configuration.servedModelNames = []
    configuration.streamInterval = 0
    #expect(configuration.problems().count == 4)
    #expect(configuration.problems().allSatisfy { $0.contains("--") })
  }
}
