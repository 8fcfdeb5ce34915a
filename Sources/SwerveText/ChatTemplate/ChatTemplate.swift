// Chat templates: from a conversation to the prompt's text, in the language (Jinja) and with the behaviour of the
// reference implementation. Everything here is text; it must not know tokens, models or requests, nor read a clock.
// Start here, then Conversation (a conversation's variables) and JinjaRenderer (how a template runs).

package import SwerveCore

/// A compiled template: compile once, render often and from any thread.
///
/// The language is Jinja's as `transformers` sets it up (`ImmutableSandboxedEnvironment`, `trim_blocks`,
/// `lstrip_blocks`, `{% break %}`, `{% continue %}`, `{% generation %}`, `raise_exception`, `strftime_now`): values
/// print as Python prints them, and nothing a template does can change its input or reach outside. Compiling takes up to
/// a few milliseconds; rendering ten messages takes 20 to 250 microseconds.
package struct ChatTemplate: Sendable {
  /// The template as written.
  package let source: String
  let program: JinjaProgram

  /// Compiles `source`. Throws what the reference would: a syntax error with its line, an unknown filter.
  package init(source: String) throws(TemplateError) {
    self.source = source
    self.program = try JinjaProgram(source: source)
  }

  /// Renders with `context` as the template's variables. `now` is what `strftime_now` prints.
  ///
  /// Needs up to 4 MiB of stack for templates that recurse deeply; ordinary ones need a few KiB.
  package func render(
    context: JSONObject, now: TemplateDate, limits: TemplateLimits = TemplateLimits()
  ) throws(TemplateError) -> String {
    let renderer = JinjaRenderer(program: program, now: now, limits: limits) { (name) throws(TemplateError) in
      guard let value = context[name.string] else { return nil }
      return try JinjaValue(value)
    }
    return String(decoding: try renderer.render(), as: UTF8.self)
  }

  /// Whether the template's source names a variable that the caller may give, such as `tools` or `documents`.
  package func mentions(_ name: String) -> Bool {
    program.contextNames.contains(JinjaText(name))
  }
}
