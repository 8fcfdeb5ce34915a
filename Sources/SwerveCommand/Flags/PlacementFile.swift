import SwerveCore
import SwervePlacement

/// `--placement FILE`: a plan that `swerve placement plan` wrote, as the flags it stands for. Flags of the command line
/// and the environment win over those of the file.
struct PlacementFile {
  let path: String
  let table: FlagTable

  /// Whether the flag's value is a file's name rather than a placement's.
  static func isPath(_ value: String) -> Bool { value.contains("/") || value.hasSuffix(".json") }

  func read() -> (assignments: [Assignment], problems: [String]) {
    let flags: [PlacementDocument.Flag]
    do {
      flags = try PlacementDocument.flags(parsing: try TextFile.read(path))
    } catch let error as PlacementError {
      return ([], ["--placement \(path) is no placement: \(error)."])
    } catch {
      return ([], ["--placement: \(error)."])
    }
    var assignments: [Assignment] = []
    var problems: [String] = []
    for given in flags {
      let written = "\(path): \(given.name)"
      guard let (flag, _) = table.flag(named: given.name), flag.section == .parallelism else {
        problems.append("\(path) has the flag \(given.name), which says nothing about a placement.")
        continue
      }
      if flag.name == "placement", Self.isPath(given.value) {
        problems.append("\(written) names another file; it must name a placement.")
        continue
      }
      do {
        assignments.append(
          Assignment(
            flag: flag, value: try flag.kind.parse(given.value), written: written,
            source: flag.name == "placement" ? .commandLine : .file))
      } catch {
        problems.append("\(written) \(error).")
      }
    }
    return (assignments, problems)
  }
}
