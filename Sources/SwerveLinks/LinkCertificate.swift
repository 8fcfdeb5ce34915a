import Crypto
package import Foundation
package import SwerveTransfer
import SwiftASN1
import X509

/// Why a file of certificates cannot be used, in one sentence.
package struct LinkFileError: Error, Hashable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// A certificate, as far as links ask.
package struct LinkCertificate: Sendable {
  let certificate: Certificate

  package init(file: String) throws(LinkFileError) {
    let text: String
    do { text = try String(contentsOfFile: file, encoding: .utf8) } catch {
      throw LinkFileError("\(file) cannot be read; check the path, or make it with swerve certs init")
    }
    do { certificate = try Certificate(pemEncoded: text) } catch {
      throw LinkFileError("\(file) is no certificate in PEM; make one with swerve certs issue")
    }
  }

  init(der: [UInt8]) throws { certificate = try Certificate(derEncoded: der) }

  init(_ certificate: Certificate) { self.certificate = certificate }

  /// Its alternative names: `DNS:host`, `IP:10.0.0.2`, `URI:spiffe://…`.
  package var names: [String] {
    guard let names = try? certificate.extensions.subjectAlternativeNames else { return [] }
    return names.compactMap { name in
      switch name {
      case .dnsName(let host): "DNS:\(host)"
      case .uniformResourceIdentifier(let uri): "URI:\(uri)"
      case .ipAddress(let bytes): "IP:\(Self.address(Array(bytes.bytes)))"
      default: nil
      }
    }
  }

  /// The worker that it is of; nil for an authority's, and for anybody else's.
  package var identity: PeerIdentity? {
    let found = names.compactMap { $0.hasPrefix("URI:") ? PeerIdentity(uri: String($0.dropFirst(4))) : nil }
    return found.count == 1 ? found[0] : nil
  }

  package var isAuthority: Bool {
    guard case .isCertificateAuthority = try? certificate.extensions.basicConstraints else { return false }
    return true
  }

  /// What time has done to it; nil: nothing.
  package func problem(at now: Date) -> String? {
    if now >= certificate.notValidAfter {
      return "has expired (\(certificate.notValidAfter.ISO8601Format())); issue a new one"
    }
    if now < certificate.notValidBefore {
      return "is not valid before \(certificate.notValidBefore.ISO8601Format()); check this host's clock"
    }
    return nil
  }

  func isIssued(by authority: LinkCertificate) -> Bool {
    authority.certificate.publicKey.isValidSignature(certificate.signature, for: certificate)
  }

  /// Whether a file has its private key.
  func belongs(toKey file: String) throws(LinkFileError) -> Bool {
    let text: String
    do { text = try String(contentsOfFile: file, encoding: .utf8) } catch {
      throw LinkFileError("\(file) cannot be read; check the path and who may read it")
    }
    do {
      return try Certificate.PrivateKey(pemEncoded: text).publicKey == certificate.publicKey
    } catch {
      throw LinkFileError("\(file) is no private key in PEM")
    }
  }

  /// SHA-256 of the certificate, as hexadecimal digits.
  package var fingerprint: String {
    var serializer = DER.Serializer()
    guard (try? serializer.serialize(certificate)) != nil else { return "" }
    return SHA256.hash(data: serializer.serializedBytes).map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined()
  }

  /// Lines for people.
  package func lines(at now: Date) -> [String] {
    var lines = ["subject: \(certificate.subject)", "issuer: \(certificate.issuer)"]
    if let identity {
      lines += ["cluster: \(identity.cluster)", "role: \(identity.role.rawValue)", "name: \(identity.name)"]
    } else {
      lines.append("role: " + (isAuthority ? "authority" : "none"))
    }
    lines += names.map { "also: \($0)" }
    lines.append("valid: \(certificate.notValidBefore.ISO8601Format()) to \(certificate.notValidAfter.ISO8601Format())")
    if let problem = problem(at: now) { lines.append("problem: \(problem)") }
    lines.append("sha256: \(fingerprint)")
    return lines
  }

  private static func address(_ bytes: [UInt8]) -> String {
    if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") }
    return stride(from: 0, to: bytes.count - bytes.count % 2, by: 2).map {
      String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
    }.joined(separator: ":")
  }
}
