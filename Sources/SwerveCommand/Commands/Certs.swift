import ArgumentParser
import Foundation
import SwerveLinks
import SwerveTransfer

/// `swerve certs init`, `swerve certs issue`, `swerve certs show FILE`: a cluster's own authority, and certificates that say
/// what a worker may be.
struct CertsCommand: TableCommand {
  static let configuration = passing(
    "certs", "Make certificates for workers on several hosts: swerve certs init, issue, show FILE.")
  static let table = FlagTable.certs
  @Argument(parsing: .captureForPassthrough) var words: [String] = []

  func run(_ settings: Settings, _ positionals: [String], _ context: CommandContext) async throws {
    do {
      switch (positionals.first, positionals.count) {
      case ("init", 1): try initialise(settings.certificates, context)
      case ("issue", 1): try issue(settings.certificates, context)
      case ("show", 2...):
        for (index, file) in positionals.dropFirst().enumerated() {
          if index > 0 { context.console.print("") }
          for line in try LinkCertificate(file: file).lines(at: .now) { context.console.print(line) }
        }
      default:
        throw CommandError(
          .usage, "swerve certs needs what to do: init, issue --role data --name d0, or show and a certificate's file.")
      }
    } catch let error as LinkFileError {
      throw CommandError(.usage, "\(error).")
    }
  }

  private func days(_ settings: CertificateSettings) throws(CommandError) -> Double {
    guard (0.0001...7300).contains(settings.days) else {
      throw CommandError(.usage, "--days must be more than 0 and at most 7300, not \(settings.days).")
    }
    return settings.days
  }

  /// An authority, a parameter worker's certificate, and a data worker's for each host.
  private func initialise(_ settings: CertificateSettings, _ context: CommandContext) throws {
    let days = try days(settings)
    // The authority outlives what it issues first.
    let authority = try Authority.make(
      in: settings.folder, cluster: settings.cluster, days: max(3650, Int(days) + 1), force: settings.force)
    context.console.print(
      "\(settings.folder)/\(Authority.certificateName): the authority of cluster \(authority.cluster)")
    let parameter = try authority.issue(
      .parameter, name: "parameter", file: "parameter", hosts: [], days: days, force: settings.force)
    context.console.print("\(parameter.certificate): for swerve serve")
    for host in settings.hosts {
      let data = try authority.issue(
        .data, name: Self.name(of: host), file: "data-\(Self.name(of: host))", hosts: [host], days: days,
        force: settings.force)
      context.console.print("\(data.certificate): for swerve data-worker on \(host)")
    }
    context.console.print("Keep \(settings.folder)/\(Authority.keyName) to yourself; workers need only ca.pem.")
  }

  private func issue(_ settings: CertificateSettings, _ context: CommandContext) throws {
    guard let role = settings.role.flatMap({ LinkRole(rawValue: $0) }) else {
      throw CommandError(.usage, "swerve certs issue needs --role: parameter, data, router or client.")
    }
    guard let name = settings.name else {
      throw CommandError(.usage, "swerve certs issue needs --name, the worker's own.")
    }
    let issued = try Authority(in: settings.folder).issue(
      role, name: name, file: "\(role.rawValue)-\(name)", hosts: settings.hosts, days: try days(settings),
      force: settings.force)
    context.console.print("\(issued.certificate)")
    context.console.print("\(issued.key)")
  }

  /// A host as a name: an address of version 6 has colons.
  private static func name(of host: String) -> String { host.replacing(":", with: "-") }
}
