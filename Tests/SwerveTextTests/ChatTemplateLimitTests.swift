import SwerveCore
import SwerveText
import Testing

@Suite("Chat templates stay within their bounds")
struct ChatTemplateLimitTests {
  private func kind(_ source: String, _ limits: TemplateLimits = TemplateLimits()) -> TemplateError.Kind? {
    do throws(TemplateError) {
      _ = try ChatTemplate(source: source).render(context: [:], now: ChatTemplateFixtures.now, limits: limits)
      return nil
    } catch {
      return error.kind
    }
  }

  private static func repeated(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }

  @Test(
    "what would run, grow or recurse without end is an error",
    arguments: [
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(100000) }}",
      "{% set x = [[]] %}{% for a in x recursive %}{{ loop(x) }}{% endfor %}",
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}",
      "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x=['a']) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
      "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      "{{ 'a' * 1000000000000 }}", "{{ [1] * 1000000000000 }}", "{{ 'a' * 9223372036854775807 }}",
      "{{ '%999999999999d' % 1 }}",
      "{{ '{:999999999999}'.format(1) }}", "{{ 'a'.center(99999999999) }}", "{{ 'a\\tb'.expandtabs(99999999999) }}",
      "{{ 'a' | indent(99999999999) }}", "{{ [1] | tojson(indent=99999999999) }}",
      "{{ [1] | batch(99999999999, 0) | list }}",
      "{% for i in range(100000) %}{% for j in range(100000) %}{{ 'a' * 49 }}{% endfor %}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.a = ns %}{{ namespace(a=ns).a.a.a is defined }}{% set ns.l = [ns] %}{{ ns }}",
    ])
  func limits(source: String) {
    #expect(kind(source) == .limit)
  }

  @Test("a range is no longer than the sandbox allows")
  func longRange() {
    #expect(kind("{{ range(100001) }}") == .python)
    #expect(kind("{{ range(-9223372036854775807, 9223372036854775807) }}") == .python)
    #expect(kind("{{ range(100000) | length }}") == nil)
  }

  @Test("arithmetic that leaves 64 bits is an error")
  func overflow() {
    for source in [
      "9223372036854775807 + 1", "-9223372036854775807 - 2", "9223372036854775807 * 2", "10 ** 30",
      "(-9223372036854775807 - 1) // -1", "-(-9223372036854775807 - 1)", "(-9223372036854775807 - 1) | abs",
    ] {
      #expect(kind("{{ \(source) }}") == .python, "\(source)")
    }
    #expect(kind("{{ (-9223372036854775807 - 1) % -1 }}") == nil)
  }

  @Test("deeply nested source is an error, not an overflow")
  func nestedSource() {
    let sources = [
      "{{ " + Self.repeated("(", 5000) + "1" + Self.repeated(")", 5000) + " }}",
      "{{ " + Self.repeated("[", 5000) + Self.repeated("]", 5000) + " }}",
      "{{ " + Self.repeated("not ", 5000) + "1 }}", "{{ " + Self.repeated("-", 5000) + "1 }}",
      "{{ a" + Self.repeated(".b", 5000) + " }}", "{{ 1" + Self.repeated(" + 1", 5000) + " }}",
      "{{ 1" + Self.repeated(" if 1 else 1", 5000) + " }}", "{{ 1" + Self.repeated(" | string", 5000) + " }}",
      Self.repeated("{% if 1 %}", 5000) + Self.repeated("{% endif %}", 5000),
      Self.repeated("{% for a in b %}", 5000) + Self.repeated("{% endfor %}", 5000),
      "{% set " + Self.repeated("(", 5000) + "a" + Self.repeated(")", 5000) + " = 1 %}",
    ]
    for source in sources { #expect(kind(source) == .template, "\(source.prefix(30))") }
    #expect(kind("{{ 1" + Self.repeated(" ~ 1", 5000) + " }}") == nil)
    #expect(kind("{% if 0 %}" + Self.repeated("{% elif 0 %}", 2000) + "{% endif %}") == nil)
  }

  @Test("the time limit stops a template that loops")
  func deadline() {
    let source = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
    #expect(kind(source, TemplateLimits(seconds: 0.01)) == .limit)
  }

  @Test("the output limit counts bytes that are written")
  func output() {
    #expect(kind("{{ 'é' * 50 }}", TemplateLimits(outputBytes: 99)) == .limit)
    #expect(kind("{{ 'é' * 50 }}", TemplateLimits(outputBytes: 100)) == nil)
  }

  @Test("values that refer to one another are let go", arguments: [1, 50])
  func cycles(count: Int) throws {
    let source = """
      {% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{{ caller() }}{% endmacro %}{% set ns.m = m %}\
      {% for i in range(\(count)) %}{% call m() %}{{ i }}{% endcall %}{% set ns.l = [ns, m, loop] %}{% endfor %}
      """
    let text = try ChatTemplate(source: source).render(context: [:], now: ChatTemplateFixtures.now)
    #expect(text == (0..<count).map(String.init).joined())
  }
}
