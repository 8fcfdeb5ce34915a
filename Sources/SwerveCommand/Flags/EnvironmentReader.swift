/// Reads flags from environment variables: `SWERVE_<FLAG>` for every flag, the names a row lists (a listed `VLLM_X` also
/// as `SWERVE_X`, which wins), and the rows that only the environment has.
struct EnvironmentReader {
  let table: FlagTable
  let environment: [String: String]

  struct Reading {
    var assignments: [Assignment] = []
    var problems: [String] = []
    /// Names with one of our prefixes that no command knows.
    var unknown: [String] = []
  }

  func read() -> Reading {
    var reading = Reading()
    for flag in table.flags {
      // A row of the engine that a command's own flag hides is not reachable by its name.
      if flag.section != .environment, table.flag(named: flag.name)?.flag.section != flag.section { continue }
      guard let name = names(of: flag).first(where: { environment[$0]?.isEmpty == false }), let text = environment[name]
      else { continue }
      do {
        let value =
          try flag.kind == .list && !text.hasPrefix("[")
          ? FlagValue.list(text.split(separator: ",").map(String.init)) : flag.kind.parse(text)
        reading.assignments.append(
          Assignment(flag: flag, value: value, written: name, source: .environment))
      } catch {
        reading.problems.append("\(name) \(error).")
      }
    }
    let known = Self.knownNames
    reading.unknown = environment.keys.filter {
      ($0.hasPrefix("SWERVE_") || $0.hasPrefix("VLLM_")) && !known.contains($0)
    }
    return reading
  }

  private func names(of flag: Flag) -> [String] { Self.names(of: flag, table: table) }

  private static func names(of flag: Flag, table: FlagTable) -> [String] {
    if flag.section == .environment {
      let ending = flag.environmentName.dropFirst("SWERVE_".count)
      // SWERVE_PORT is --port, VLLM_PORT is not.
      let isFlag = table.flag(named: flag.name) != nil
      return (isFlag ? [] : ["SWERVE_\(ending)"]) + ["VLLM_\(ending)"]
    }
    let listed = flag.environment.flatMap { name in
      name.hasPrefix("VLLM_") ? ["SWERVE_" + name.dropFirst("VLLM_".count), name] : [name]
    }
    return [flag.environmentName] + listed
  }

  private static let knownNames: Set<String> = {
    let all = FlagTable.everything
    return Set(all.flags.flatMap { names(of: $0, table: all) }).union(Flag.foreignEnvironment)
  }()
}
