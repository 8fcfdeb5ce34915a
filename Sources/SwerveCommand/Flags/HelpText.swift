/// Help for one command: all of it, one section, or one flag.
struct HelpText {
  let command: String
  let table: FlagTable

  /// `topic` is empty, `all`, a section's or a flag's name.
  func text(_ topic: String) throws(CommandError) -> String {
    switch topic.lowercased() {
    case "": return overview
    case "all": return ([usage] + table.sections.map(section)).joined(separator: "\n\n")
    case let name:
      if let section = table.sections.first(where: { $0.rawValue.lowercased() == name }) {
        return self.section(section)
      }
      let plain = String(name.drop { $0 == "-" }).replacing("_", with: "-")
      if let flag = table.flag(named: plain)?.flag ?? table.flag(shortNamed: plain) { return details(flag) }
      let names = table.sections.map(\.rawValue)
      let nearest = NearestName.nearest(to: name, among: names) ?? table.nearest(to: plain).map { "--\($0)" }
      throw CommandError(
        .usage, ["there is no help on \(topic)" + (nearest.map { "; did you mean \($0)?" } ?? ".")])
    }
  }

  private var usage: String {
    let model = table.flag(named: "model")?.flag.section == .model ? " [MODEL]" : ""
    return "usage: swerve \(command)\(model) [flags]"
  }

  /// What works today, section by section; the rest is one `--help=Section` away.
  private var overview: String {
    var parts = [usage]
    for section in table.sections {
      let flags = table.flags.filter { $0.section == section && isVisible($0) }
      let working = flags.filter { if case .supported = $0.status { true } else { false } }
      if working.isEmpty { continue }
      parts.append(([title(section)] + working.map(line)).joined(separator: "\n"))
    }
    let names = table.sections.map(\.rawValue).joined(separator: ", ")
    parts.append(
      """
      --help=SECTION shows also what is accepted or planned (\(names)), --help=FLAG one flag, --help=all everything.
      Every flag is also read from SWERVE_<FLAG> and from the file of --config.
      """)
    return parts.joined(separator: "\n\n")
  }

  private func section(_ section: Flag.Section) -> String {
    let flags = table.flags.filter { $0.section == section && isVisible($0) }
    return ([title(section)] + flags.map(line)).joined(separator: "\n")
  }

  private func title(_ section: Flag.Section) -> String {
    section == .environment ? "Environment (SWERVE_X or VLLM_X):" : "\(section.rawValue):"
  }

  /// A row that a command's own flag of the same name hides is not shown.
  private func isVisible(_ flag: Flag) -> Bool {
    flag.section == .environment || table.flag(named: flag.name)?.flag.section == flag.section
  }

  private func line(_ flag: Flag) -> String {
    let name = flag.section == .environment ? "VLLM_" + flag.environmentName.dropFirst(7) : names(flag)
    let left = "  " + name + (flag.kind == .bool ? "" : " \(flag.kind.placeholder)")
    let gap =
      left.count < 40 ? String(repeating: " ", count: 40 - left.count) : "\n" + String(repeating: " ", count: 40)
    return left + gap + flag.help + note(flag)
  }

  private func names(_ flag: Flag) -> String {
    (flag.shortNames.map { "-\($0)" } + ["--\(flag.name)"]).joined(separator: ", ")
  }

  private func note(_ flag: Flag) -> String {
    let defaultText = flag.defaultText.isEmpty || flag.defaultText == "null" ? "" : " [\(flag.defaultText)]"
    switch flag.status {
    case .supported: return defaultText
    case .later: return defaultText + " (not supported yet)"
    case .ignored: return " (accepted, no effect)"
    }
  }

  private func details(_ flag: Flag) -> String {
    var lines = ["\(names(flag))\(flag.kind == .bool ? "" : " \(flag.kind.placeholder)")", "  \(flag.help)"]
    if !flag.defaultText.isEmpty { lines.append("  default: \(flag.defaultText)") }
    let aliases = flag.aliases.map { $0.hasPrefix("!") ? "--\($0.dropFirst()) (the opposite)" : "--\($0)" }
    if !aliases.isEmpty { lines.append("  also: \(aliases.joined(separator: ", "))") }
    lines.append("  environment: \(([flag.environmentName] + flag.environment).joined(separator: ", "))")
    switch flag.status {
    case .supported: break
    case .later(let why, _): lines.append("  not supported yet: \(why)")
    case .ignored(let why): lines.append("  accepted without effect: \(why)")
    }
    return lines.joined(separator: "\n")
  }
}
