import SwerveCore
import Testing

@Suite struct JSONTests {
  @Test func keepsOrderAndKinds() throws {
    let value = try JSON(parsing: #"{"b": 1, "a": [1.5, 16.0, true, null, "x\ny\u00e9\ud83d\ude00"], "b": 2}"#)
    #expect(value.object?.keys == ["b", "a"])
    #expect(value["b"] == .int(2))
    #expect(value["a"]?[1]?.int == 16)
    #expect(value["a"]?[4] == "x\ny\u{e9}\u{1F600}")
    #expect(value.text == "{\"b\":2,\"a\":[1.5,16.0,true,null,\"x\\ny\u{e9}\u{1F600}\"]}")
  }

  @Test(arguments: [
    "", "{", "[1,", "[1 2]", "{\"a\"}", "{\"a\":}", "tru", "01", "1.", "1e", "\"a", "\"\\x\"", "\"\\u12\"", "[1]]", "-",
    "{a:1}", "\"\u{1}\"",
  ])
  func refuses(_ text: String) {
    #expect(throws: JSONError.self) { try JSON(parsing: text) }
  }

  @Test func refusesDeepNesting() {
    #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 100_000)) }
  }

  @Test func numbersAtTheEdges() throws {
    #expect(try JSON(parsing: "9223372036854775807") == .int(.max))
    #expect(try JSON(parsing: "-9223372036854775808") == .int(.min))
    #expect(try JSON(parsing: "9223372036854775808") == .double(9223372036854775808))
    #expect(try JSON(parsing: "NaN").double?.isNaN == true)
    #expect(try JSON(parsing: "-Infinity") == .double(-.infinity))
  }

  @Test func largeObjectsFindTheirKeys() throws {
    var object = JSONObject()
    for place in 0..<100 { object["k\(place)"] = .int(place) }
    object["k3"] = nil
    #expect(object["k3"] == nil)
    #expect(object["k99"] == 99)
    #expect(object.count == 99)
  }

  /// Random damage to a valid text must give a value or an error, never a trap.
  @Test func survivesDamage() {
    var random = SystemRandomNumberGenerator()
    let source = Array(#"{"a":[1,-2.5e3,"x\u00e9\"",{"b":null}],"c":true,"d":{"e":[[],{}]}}"#.utf8)
    for _ in 0..<20_000 {
      var bytes = source
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
      _ = try? JSON(parsing: bytes)
    }
  }
}
