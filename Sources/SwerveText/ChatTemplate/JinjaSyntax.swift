/// A constant written in a template.
enum JinjaLiteral: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case double(Double)
  case text(JinjaText)

  var value: JinjaValue {
    switch self {
    case .none: .none
    case .bool(let flag): .bool(flag)
    case .int(let number): .int(number)
    case .double(let number): .double(number)
    case .text(let text): .text(text)
    }
  }
}

/// An expression. `depth` bounds every recursion over the tree.
struct JinjaExpression: Sendable {
  let node: JinjaNode
  let depth: Int
}

/// What an expression does. Names are numbered by occurrence; what each means is decided by `JinjaResolver`.
indirect enum JinjaNode: Sendable {
  case literal(JinjaLiteral)
  case name(Int)
  /// The text a filter block or a filtered `set` block collected.
  case captured
  case list([JinjaExpression])
  case tuple([JinjaExpression])
  case dict([(JinjaExpression, JinjaExpression)])
  case not(JinjaExpression)
  case negative(JinjaExpression)
  case positive(JinjaExpression)
  case and(JinjaExpression, JinjaExpression)
  case or(JinjaExpression, JinjaExpression)
  case binary(JinjaOperator, JinjaExpression, JinjaExpression)
  case compare(JinjaExpression, [(JinjaComparison, JinjaExpression)])
  case concat([JinjaExpression])
  case conditional(test: JinjaExpression, then: JinjaExpression, otherwise: JinjaExpression?, line: Int)
  case attribute(JinjaExpression, JinjaName)
  case element(JinjaExpression, JinjaExpression)
  case slice(JinjaExpression, JinjaSlice)
  case call(JinjaExpression, JinjaArguments)
  case filter(JinjaExpression, name: String, JinjaFilter?, JinjaArguments)
  case test(JinjaExpression, name: String, JinjaTest?, JinjaArguments)
}

struct JinjaSlice: Sendable {
  var start: JinjaExpression?
  var stop: JinjaExpression?
  var step: JinjaExpression?
}

enum JinjaComparison: String, Sendable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case contained = "in"
  case notContained = "not in"
}

/// An attribute's name with the built-in method it may mean.
struct JinjaName: Sendable {
  let text: JinjaText
  let method: JinjaMethodName?

  init(_ text: JinjaText) {
    self.text = text
    self.method = JinjaMethodName(rawValue: text.string)
  }
}

struct JinjaArguments: Sendable {
  var positional: [JinjaExpression] = []
  var named: [(JinjaText, JinjaExpression)] = []
  var star: JinjaExpression?
  var doubleStar: JinjaExpression?

  var all: [JinjaExpression] {
    positional + named.map(\.1) + (star.map { [$0] } ?? []) + (doubleStar.map { [$0] } ?? [])
  }
}

/// Where an assignment goes.
indirect enum JinjaTarget: Sendable {
  case name(Int)
  case attribute(Int, JinjaText)
  case tuple([JinjaTarget])
}

/// A run of occurrences: the names, filters and tests in a piece of source, in the order written.
typealias JinjaSpan = Range<Int>

/// A name, filter or test somewhere in the source.
struct JinjaOccurrence: Sendable {
  enum Role: Sendable { case load, store, parameter, filter, test }
  var role: Role
  let name: String
  let line: Int
  /// Inside an inline `if`: an unknown filter there fails only when it is reached.
  var isConditional = false
  /// Whether the environment has this filter or test.
  var isKnown = true
}

indirect enum JinjaStatement: Sendable {
  case text([UInt8])
  case print([JinjaExpression], JinjaSpan, line: Int)
  case assign(JinjaTarget, JinjaSpan, JinjaExpression, JinjaSpan, line: Int)
  case assignBlock(JinjaAssignBlock)
  case branch([JinjaBranch], otherwise: [JinjaStatement])
  case loop(JinjaForLoop)
  case macro(JinjaMacroSyntax, name: Int)
  case callBlock(JinjaMacroSyntax, JinjaExpression, JinjaSpan)
  case filterBlock(JinjaFilterBlock)
  case with(JinjaWith)
  case block(JinjaBlockSyntax)
  case generation(JinjaBody)
  case autoescape(JinjaExpression, JinjaSpan, JinjaBody)
  case breakLoop(line: Int)
  case continueLoop(line: Int)
  /// `include`, `import`, `extends`: there is nowhere to load another template from.
  case noLoader(JinjaSpan, line: Int)
}

/// Statements with the scope they run in.
struct JinjaBody: Sendable {
  var statements: [JinjaStatement]
  var scope: Int
  var line: Int
}

struct JinjaBranch: Sendable {
  var test: JinjaExpression
  var span: JinjaSpan
  var body: [JinjaStatement]
  var line: Int
}

final class JinjaForLoop: Sendable {
  let target: JinjaTarget
  let targetSpan: JinjaSpan
  let source: JinjaExpression
  let sourceSpan: JinjaSpan
  let test: JinjaExpression?
  /// The target once more, as the test sees it.
  let testTarget: JinjaTarget
  let testTargetSpan: JinjaSpan
  let testSpan: JinjaSpan
  let body: JinjaBody
  let bodySpan: JinjaSpan
  let otherwise: JinjaBody?
  let isRecursive: Bool
  let testScope: Int
  /// Everything from `for` to `endfor`.
  let wholeSpan: JinjaSpan

  init(
    target: JinjaTarget, targetSpan: JinjaSpan, source: JinjaExpression, sourceSpan: JinjaSpan, test: JinjaExpression?,
    testTarget: JinjaTarget, testTargetSpan: JinjaSpan, testSpan: JinjaSpan, body: JinjaBody, bodySpan: JinjaSpan,
    otherwise: JinjaBody?, isRecursive: Bool, testScope: Int, wholeSpan: JinjaSpan
  ) {
    self.target = target
    self.targetSpan = targetSpan
    self.source = source
    self.sourceSpan = sourceSpan
    self.test = test
    self.testTarget = testTarget
    self.testTargetSpan = testTargetSpan
    self.testSpan = testSpan
    self.body = body
    self.bodySpan = bodySpan
    self.otherwise = otherwise
    self.isRecursive = isRecursive
    self.testScope = testScope
    self.wholeSpan = wholeSpan
  }
}

/// A macro, or the body of a call block.
final class JinjaMacroSyntax: Sendable {
  let name: String?
  let parameters: [Int]
  let parameterNames: [JinjaText]
  let defaults: [JinjaExpression]
  /// Parameters and defaults, in the order written.
  let signatureSpan: JinjaSpan
  let body: JinjaBody
  let bodySpan: JinjaSpan

  init(
    name: String?, parameters: [Int], parameterNames: [JinjaText], defaults: [JinjaExpression],
    signatureSpan: JinjaSpan, body: JinjaBody, bodySpan: JinjaSpan
  ) {
    self.name = name
    self.parameters = parameters
    self.parameterNames = parameterNames
    self.defaults = defaults
    self.signatureSpan = signatureSpan
    self.body = body
    self.bodySpan = bodySpan
  }
}

struct JinjaAssignBlock: Sendable {
  var target: JinjaTarget
  var targetSpan: JinjaSpan
  var filter: JinjaExpression?
  var filterSpan: JinjaSpan
  var body: JinjaBody
}

struct JinjaFilterBlock: Sendable {
  var filter: JinjaExpression
  var span: JinjaSpan
  var body: JinjaBody
}

struct JinjaWith: Sendable {
  var targets: [JinjaTarget]
  var targetSpans: [JinjaSpan]
  var values: [JinjaExpression]
  var valueSpans: [JinjaSpan]
  var body: JinjaBody
}

struct JinjaBlockSyntax: Sendable {
  var name: String
  var body: JinjaBody
}
