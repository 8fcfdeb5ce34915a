/// How a template wants a message's `content`.
package enum ContentFormat: String, Sendable {
  /// One string; parts of a message are joined before rendering.
  case string
  /// The list of parts as the client sent it.
  case openai
}

extension ChatTemplate {
  /// Guessed as other servers do: `openai` where the template loops over the content of a message it loops over,
  /// `string` otherwise. Aliases (`set loop_messages = messages[1:]`) and filters on the way are seen through.
  package var contentFormat: ContentFormat {
    var survey = TemplateSurvey()
    survey.visit(program.statements)
    let names = program.occurrences

    // Variables that hold the messages.
    var messages: Set<String> = ["messages"]
    var grows = true
    while grows {
      grows = false
      for (target, value) in survey.assignments where Self.reads(value, key: nil, of: messages, names) {
        grows = messages.insert(names[target].name).inserted || grows
      }
    }
    // Variables that hold one message, and those that hold its content.
    var message: Set<String> = []
    for (target, source) in survey.loops where Self.reads(source, key: nil, of: messages, names) {
      if let target { message.insert(names[target].name) }
    }
    var content: Set<String> = []
    for (target, value) in survey.assignments where Self.reads(value, key: "content", of: message, names) {
      content.insert(names[target].name)
    }
    let hasLoop = survey.loops.contains {
      Self.reads($0.source, key: "content", of: message, names) || Self.reads($0.source, key: nil, of: content, names)
    }
    return hasLoop ? .openai : .string
  }

  /// Whether an expression is one of the variables (or its member `key`), perhaps filtered, tested or sliced.
  private static func reads(
    _ expression: JinjaExpression, key: JinjaText?, of variables: Set<String>, _ names: [JinjaOccurrence]
  ) -> Bool {
    switch expression.node {
    case .filter(let subject, _, _, _), .test(let subject, _, _, _), .slice(let subject, _):
      return reads(subject, key: key, of: variables, names)
    case .name(let occurrence): return key == nil && variables.contains(names[occurrence].name)
    case .attribute(let subject, let name):
      guard let key, name.text == key else { return false }
      return reads(subject, key: nil, of: variables, names)
    case .element(let subject, let index):
      guard let key, case .literal(.text(let name)) = index.node, name == key else { return false }
      return reads(subject, key: nil, of: variables, names)
    default: return false
    }
  }
}

/// The loops over and assignments to plain names, wherever they stand.
private struct TemplateSurvey {
  var loops: [(target: Int?, source: JinjaExpression)] = []
  var assignments: [(target: Int, value: JinjaExpression)] = []

  mutating func visit(_ statements: [JinjaStatement]) {
    for statement in statements { visit(statement) }
  }

  private mutating func visit(_ statement: JinjaStatement) {
    switch statement {
    case .text, .print, .breakLoop, .continueLoop, .noLoader: break
    case .assign(let target, _, let value, _, _):
      if case .name(let occurrence) = target { assignments.append((occurrence, value)) }
    case .assignBlock(let block): visit(block.body.statements)
    case .branch(let branches, let otherwise):
      for branch in branches { visit(branch.body) }
      visit(otherwise)
    case .loop(let loop):
      if case .name(let occurrence) = loop.target {
        loops.append((occurrence, loop.source))
      } else {
        loops.append((nil, loop.source))
      }
      visit(loop.body.statements)
      visit(loop.otherwise?.statements ?? [])
    case .macro(let macro, _), .callBlock(let macro, _, _): visit(macro.body.statements)
    case .filterBlock(let block): visit(block.body.statements)
    case .with(let with): visit(with.body.statements)
    case .block(let block): visit(block.body.statements)
    case .generation(let body), .autoescape(_, _, let body): visit(body.statements)
    }
  }
}
