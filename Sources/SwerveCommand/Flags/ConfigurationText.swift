import SwerveCore

/// `--print-config`: what is in effect, as a file that `--config` reads. Secrets are not shown.
struct ConfigurationText {
  let table: FlagTable
  /// The winning ones.
  let assignments: [Assignment]

  var text: String {
    var lines: [String] = []
    let given = Dictionary(assignments.map { ("\($0.flag.section.rawValue)/\($0.flag.name)", $0) }) { first, _ in first
    }
    for section in table.sections where section != .environment {
      lines.append("# \(section.rawValue)")
      for flag in table.flags where flag.section == section {
        guard case .supported = flag.status, flag.name != "config", flag.name != "print-config" else { continue }
        if let assignment = given["\(section.rawValue)/\(flag.name)"] {
          lines.append("\(flag.name): \(Self.yaml(assignment))  # \(assignment.written)")
        } else {
          lines.append("# \(flag.name): \(flag.defaultText)")
        }
      }
    }
    return lines.joined(separator: "\n")
  }

  private static func yaml(_ assignment: Assignment) -> String {
    if assignment.flag.isSecret { return "'***'" }
    switch assignment.value {
    case .bool, .int, .double: return assignment.value.text
    case .string(let text): return "'\(text.replacing("'", with: "''"))'"
    case .list(let items): return "[\(items.map { "'\($0.replacing("'", with: "''"))'" }.joined(separator: ", "))]"
    case .json(let value): return value.text  // JSON is YAML
    }
  }
}
