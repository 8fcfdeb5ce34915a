/// Bounds on one rendering. The defaults are far above what templates of real models need.
package struct TemplateLimits: Sendable {
  /// Wall-clock seconds.
  package var seconds: Double
  /// Bytes of output.
  package var outputBytes: Int

  package init(seconds: Double = 30, outputBytes: Int = 16 << 20) {
    self.seconds = seconds
    self.outputBytes = outputBytes
  }
}

/// Fixed bounds on values and trees. With them every single operation is short, every recursion over values shallow,
/// and a template in a loop cannot fill the memory before the deadline is noticed.
enum JinjaLimits {
  /// Bytes of one string.
  static let textBytes = 64 << 20
  /// Bytes reachable from one container, shared parts counted each time.
  static let containerBytes = 256 << 20
  /// Containers inside containers.
  static let containerDepth = 512
  /// Length of `range()`, as in the reference's sandbox.
  static let rangeLength = 100_000
  /// Nesting of expressions and of statements in the source, and the depth of an expression's tree.
  static let sourceNesting = 100
  static let treeDepth = 400
  /// Stack a rendering may use, in bytes. A thread that renders needs twice that.
  static let stackBytes = 2 << 20

  static func check(textBytes count: Int) throws(TemplateError) {
    if count > textBytes { throw .limit("a template string grew beyond \(textBytes >> 20) MiB") }
  }
  static func check(depth: Int) throws(TemplateError) {
    if depth > containerDepth { throw .limit("a template value is nested deeper than \(containerDepth) levels") }
  }
  static func check(weight: Int) throws(TemplateError) {
    if weight > containerBytes { throw .limit("a template value grew beyond \(containerBytes >> 20) MiB") }
  }
}
