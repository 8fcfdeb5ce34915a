import SwerveCore
import Yams

/// `--config file.yaml`: a mapping with flag names as keys, written with `-` or `_`.
struct ConfigurationFile {
  let path: String
  let table: FlagTable

  func read() -> (assignments: [Assignment], problems: [String]) {
    var assignments: [Assignment] = []
    var problems: [String] = []
    let root: Node?
    do {
      root = try Yams.compose(yaml: try TextFile.read(path))
    } catch let error as FlagError {
      return ([], ["--config \(error)."])
    } catch {
      let reason = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
      return ([], ["--config \(path) is not YAML: \(reason)."])
    }
    guard let root else { return ([], []) }
    guard let mapping = root.mapping else {
      return ([], ["--config \(path) must hold flag names and values, one pair a line."])
    }
    for (key, node) in mapping {
      let written = "\(path): \(key.string ?? "?")"
      let name = (key.string ?? "").replacing("_", with: "-")
      guard let (flag, isOpposite) = table.flag(named: name), flag.name != "config" else {
        let nearest = table.nearest(to: name).map { "; did you mean \($0)?" } ?? "."
        problems.append("\(path) has the unknown key \(key.string ?? "?")\(nearest)")
        continue
      }
      do {
        guard var value = try Self.value(of: flag, node: node) else { continue }
        if isOpposite, case .bool(let given) = value { value = .bool(!given) }
        assignments.append(
          Assignment(flag: flag, value: value, written: written, source: .file))
      } catch {
        problems.append("\(written) \(error).")
      }
    }
    return (assignments, problems)
  }

  /// nil where the file says null.
  private static func value(of flag: Flag, node: Node) throws(FlagError) -> FlagValue? {
    let json = Self.json(node)
    if json.isNull { return nil }
    switch (flag.kind, json) {
    case (.json, _): return .json(json)
    case (.list, .array(let items)): return .list(items.map { $0.string ?? $0.text })
    case (_, .array), (_, .object): throw FlagError("needs \(flag.kind.placeholder), not \(json.kind)")
    default: return try flag.kind.parse(node.scalar?.string ?? "")
    }
  }

  /// YAML's core schema for plain scalars; quoted ones are strings.
  private static func json(_ node: Node) -> JSON {
    if let mapping = node.mapping {
      return .object(JSONObject(mapping.map { ($0.key.string ?? "", json($0.value)) }))
    }
    if let sequence = node.sequence { return .array(sequence.map(json)) }
    guard let scalar = node.scalar else { return .null }
    guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
    switch scalar.string {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .bool(true)
    case "false", "False", "FALSE": return .bool(false)
    default:
      if let value = Int(scalar.string) { return .int(value) }
      if scalar.string.first?.isLetter == false, let value = Double(scalar.string) { return .double(value) }
      return .string(scalar.string)
    }
  }
}
