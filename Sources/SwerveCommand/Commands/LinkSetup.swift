import SwerveCore
import SwerveLinks
import SwerveTransfer

/// From flags to what protects links.
enum LinkSetup {
  /// - Parameter onNotice: hears of certificates that were renewed while this process runs.
  /// - Throws: `CommandError` where a file is missing, of another role, expired, or not of the authority.
  static func protection(
    _ links: LinkConfiguration, role: LinkRole, onNotice: @escaping @Sendable (String) -> Void
  ) throws(CommandError) -> LinkProtection {
    let encryption = links.encryption.flatMap { LinkEncryption(rawValue: $0) }
    guard let certificate = links.certificate, let key = links.key, let authority = links.authority else {
      return LinkProtection(encryption: encryption, trustsNetwork: links.trustsNetwork)
    }
    do {
      let security = try ReloadedSecurity(
        .init(certificate: certificate, key: key, authority: authority), role: role, onNotice: onNotice)
      return LinkProtection(security: security, encryption: encryption, trustsNetwork: links.trustsNetwork)
    } catch {
      throw CommandError(.usage, "\(error).")
    }
  }
}
