import SwerveCore
import SwerveText
import Testing

@Suite("Chat templates never trap")
struct ChatTemplateFuzzTests {
  private static let limits = TemplateLimits(seconds: 0.5, outputBytes: 1 << 20)

  private static let context: JSONObject = [
    "messages": [
      ["role": "system", "content": "s"], ["role": "user", "content": [["type": "text", "text": "é"]]],
      [
        "role": "assistant", "content": nil,
        "tool_calls": [["id": "a", "function": ["name": "f", "arguments": ["x": 1.5]]]],
      ],
    ],
    "tools": [["type": "function", "function": ["name": "f", "parameters": ["type": "object", "properties": [:]]]]],
    "add_generation_prompt": true, "bos_token": "<s>", "a": 7, "b": -3, "c": "text\n", "d": ["k": [1, 2.5, nil]],
    "l": [3, 1, 2],
  ]

  /// Either a text or a TemplateError, and the text is what a second rendering gives too.
  private func run(_ source: String, _ label: @autoclosure () -> String) {
    do throws(TemplateError) {
      let template = try ChatTemplate(source: source)
      _ = template.contentFormat
      _ = try template.render(context: Self.context, now: ChatTemplateFixtures.now, limits: Self.limits)
    } catch {
      #expect(!error.message.isEmpty || error.kind == .raised, "\(label())")
    }
  }

  @Test("mutated real templates give a text or an error", arguments: ChatTemplateFixtures.templateNames)
  func mutations(name: String) throws {
    let source = Array(try ChatTemplateFixtures.template(name).utf8)
    let seed = name.utf8.reduce(UInt64(20)) { $0 &* 31 &+ UInt64($1) }
    print("fuzz \(name): seed \(seed)")
    var random = SeededGenerator(seed: seed)
    let inserts = [
      "{%", "%}", "{{", "}}", "-", "(", ")", "[", "]", "|", ".", "'", "{% endif %}", "{% endfor %}", " if ", " * ", "~",
      "\\", "é", "9",
    ]
    for round in 0..<60 {
      var bytes = source
      for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes.remove(at: place)
        case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.insert(contentsOf: Array((inserts.randomElement(using: &random) ?? "").utf8), at: place)
        case 3: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...40, using: &random)))
        default:
          let end = min(bytes.count, place + Int.random(in: 1...60, using: &random))
          bytes.insert(contentsOf: Array(bytes[place..<end]), at: Int.random(in: 0...bytes.count, using: &random))
        }
      }
      run(String(decoding: bytes, as: UTF8.self), "seed \(seed) round \(round)")
    }
  }

  @Test("random expressions give a text or an error", arguments: 0..<8)
  func tokenSoup(block: UInt64) {
    let seed = 7_700 + block
    print("fuzz expressions: seed \(seed)")
    var random = SeededGenerator(seed: seed)
    let words = [
      "a", "b", "c", "d", "l", "messages", "missing", "1", "0", "-1", "2.5", "9223372036854775807", "'x'", "'{:>9}'",
      "'%5d%s'", "none", "true",
      "+", "-", "*", "/", "//", "%", "**", "~", "==", "<", ">=", "in", "not in", "and", "or", "not", "if", "else", "is",
      "is not", "(", ")", "[",
      "]", "{", "}", ":", ",", ".", "|", "=", "*", "loop", "namespace(", "range(", "dict(", "cycler(", ".items()",
      ".split(", ".format(",
      ".replace(", ".join(", ".get(", ".center(", ".index(", "tojson", "length", "first", "join", "sort", "map(",
      "select(", "batch(", "slice(",
      "round(", "int", "indent(", "truncate(", "wordwrap(", "groupby(", "dictsort", "unique", "sum", "min", "urlencode",
      "xmlattr", "title",
      "format(", "defined", "string", "divisibleby", "sameas", "even", "%}{%", "}}{{", "set q =", "for i in", "endfor",
      "endif", "macro m(",
    ]
    for round in 0..<1500 {
      var soup = Bool.random(using: &random) ? "{{ " : "{% set q = "
      let closing = soup == "{{ " ? " }}" : " %}{{ q }}"
      for _ in 0..<Int.random(in: 1...14, using: &random) { soup += (words.randomElement(using: &random) ?? "") + " " }
      run(soup + closing, "seed \(seed) round \(round): \(soup)")
    }
  }

  @Test("every filter, test and method takes any value and arguments", arguments: 0..<4)
  func arguments(block: UInt64) {
    let seed = 9_900 + block
    print("fuzz arguments: seed \(seed)")
    var random = SeededGenerator(seed: seed)
    let filters =
      """
      abs attr batch capitalize center count d default dictsort e escape filesizeformat first float \
      forceescape format groupby indent int items join last length list lower map max min pprint random \
      reject rejectattr replace reverse round safe select selectattr slice sort string striptags sum title \
      tojson trim truncate unique upper urlencode wordcount wordwrap xmlattr
      """
      .split(separator: " ")
    let methods =
      """
      capitalize casefold center count encode endswith expandtabs find format format_map index isalnum \
      istitle join ljust lower lstrip partition removeprefix replace rfind rindex rjust rpartition rsplit \
      rstrip split splitlines startswith strip swapcase title upper zfill get items keys values copy \
      bit_length is_integer
      """
      .split(separator: " ")
    let values = [
      "1", "-1", "0", "3", "2.5", "1e300", "'x'", "''", "'a b-c'", "'é日本'", "' , '", "none", "true", "l", "d",
      "(1, 'a')", "[]", "{}", "missing", "range(4)",
      "messages", "-9223372036854775807 - 1", "9223372036854775807", "d.items()", "'role'", "'%s %5.2f'",
      "'{0} {a!r:>5}'", "namespace(a=1)", "'odd'", "'upper'",
    ]
    for round in 0..<3000 {
      let list = (0..<Int.random(in: 0...3, using: &random)).map { _ in values.randomElement(using: &random) ?? "" }
      let subject = values.randomElement(using: &random) ?? ""
      let source: String
      if Bool.random(using: &random) {
        let filter = filters.randomElement(using: &random) ?? ""
        source = "{{ (\(subject)) | \(filter)(\(list.joined(separator: ", "))) | string | length }}"
      } else {
        source = "{{ (\(subject)).\(methods.randomElement(using: &random) ?? "")(\(list.joined(separator: ", "))) }}"
      }
      run(source, "seed \(seed) round \(round): \(source)")
    }
  }
}
