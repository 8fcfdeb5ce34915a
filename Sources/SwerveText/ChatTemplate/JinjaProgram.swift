/// A compiled template: the syntax tree, and for each name in it the place its value lives. Immutable.
final class JinjaProgram: Sendable {
  let statements: [JinjaStatement]
  let occurrences: [JinjaOccurrence]
  /// By occurrence; meaningful for names only.
  let references: [JinjaReference]
  let scopes: [JinjaScope]
  /// Names looked up in the caller's variables and the environment.
  let contextNames: [JinjaText]
  let blocks: [String: JinjaBlockSyntax]

  init(source: String) throws(TemplateError) {
    var parser = try JinjaParser(source)
    let statements = try parser.parseTemplate()
    var resolver = JinjaResolver(
      occurrences: parser.occurrences, scopeCount: parser.scopeCount, hasBlocks: parser.hasBlocks)
    try resolver.resolve(template: statements)
    self.statements = statements
    self.occurrences = parser.occurrences
    self.references = resolver.references
    self.scopes = resolver.scopes
    self.contextNames = resolver.contextNames.map { JinjaText($0) }
    self.blocks = resolver.blocks
  }
}

/// Where a name's value lives: `hops` functions outwards from the running one, in its slot `slot`.
struct JinjaReference: Sendable {
  var hops = 0
  var slot = 0
  /// A top-level assignment that blocks see.
  var isExported = false
}

/// What a slot holds when its scope is entered.
enum JinjaLoad: Sendable {
  case context(Int)
  case alias(JinjaReference)
  case missing
}

/// What happens when a scope is entered. Scopes of functions (the template, macros, blocks, recursive loops) also say
/// how many slots their frames have.
struct JinjaScope: Sendable {
  var loads: [(slot: Int, load: JinjaLoad)] = []
  var slotCount = 0
  /// The slots of names that a scope has without an assignment, where its body mentions them.
  var loopSlot: Int?
  var callerSlot: Int?
  var kwargsSlot: Int?
  var varargsSlot: Int?
}
