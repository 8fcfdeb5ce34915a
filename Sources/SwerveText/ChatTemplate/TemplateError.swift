/// Why a chat template could not be compiled or rendered.
///
/// The message is worded as the reference implementation (Jinja2 3.1.6 under Python) words it where a template author
/// would look for it: what `raise_exception` said exactly, and the template engine's own errors nearly so.
package struct TemplateError: Error, Equatable, CustomStringConvertible {
  package enum Kind: String, Sendable {
    /// The template itself refused the messages with `raise_exception`: the client's fault, and the message is for it.
    case raised
    /// The template is wrong, or used something undefined or forbidden.
    case template
    /// An operation Python would have answered with one of its own exceptions (wrong type, wrong value).
    case python
    /// The time, output, depth or size limit was reached.
    case limit
  }

  package var kind: Kind
  /// The reference's name for this error, such as `UndefinedError` or `TypeError`.
  package var type: String
  package var message: String
  /// Line in the template's source, counted from 1, where it is known.
  package var line: Int?

  package init(kind: Kind, type: String, message: String, line: Int? = nil) {
    self.kind = kind
    self.type = type
    self.message = message
    self.line = line
  }

  package var description: String { message }

  static func raised(_ message: String) -> Self { Self(kind: .raised, type: "TemplateError", message: message) }
  static func syntax(_ message: String, line: Int) -> Self {
    Self(kind: .template, type: "TemplateSyntaxError", message: message, line: line)
  }
  static func assertion(_ message: String, line: Int) -> Self {
    Self(kind: .template, type: "TemplateAssertionError", message: message, line: line)
  }
  static func runtime(_ message: String) -> Self {
    Self(kind: .template, type: "TemplateRuntimeError", message: message)
  }
  static func undefined(_ message: String) -> Self { Self(kind: .template, type: "UndefinedError", message: message) }
  static func security(_ message: String) -> Self { Self(kind: .template, type: "SecurityError", message: message) }
  static func argument(_ message: String) -> Self {
    Self(kind: .template, type: "FilterArgumentError", message: message)
  }
  static func typeError(_ message: String) -> Self { Self(kind: .python, type: "TypeError", message: message) }
  static func valueError(_ message: String) -> Self { Self(kind: .python, type: "ValueError", message: message) }
  static func overflow(_ message: String) -> Self { Self(kind: .python, type: "OverflowError", message: message) }
  static func zeroDivision(_ message: String) -> Self {
    Self(kind: .python, type: "ZeroDivisionError", message: message)
  }
  static func limit(_ message: String) -> Self { Self(kind: .limit, type: "LimitError", message: message) }
}
