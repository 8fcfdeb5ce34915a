import Crypto
import Foundation
package import SwerveTransfer
import SwiftASN1
import X509

/// A cluster's own authority: makes itself, and certificates of workers. Keys are ECDSA over P-256.
package struct Authority {
  package static let certificateName = "ca.pem"
  package static let keyName = "ca.key"

  private let folder: URL
  private let certificate: Certificate
  private let key: Certificate.PrivateKey
  package let cluster: String

  /// Makes a new authority in a folder.
  ///
  /// - Throws: where there is one already and `force` is false: every certificate of it would be worthless.
  package static func make(
    in folder: String, cluster: String, days: Int, force: Bool
  ) throws(LinkFileError) -> Authority {
    guard PeerIdentity.isName(cluster) else {
      throw LinkFileError(
        "a cluster's name has letters, digits, dots and dashes, at most 64, not \(cluster.debugDescription)")
    }
    let place = URL(filePath: folder)
    let key = P256.Signing.PrivateKey()
    let issuer = Certificate.PrivateKey(key)
    do {
      try FileManager.default.createDirectory(
        at: place, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      let name = try DistinguishedName {
        OrganizationName("swerve")
        CommonName(cluster)
      }
      let certificate = try Certificate(
        version: .v3, serialNumber: .init(), publicKey: issuer.publicKey, notValidBefore: begin,
        notValidAfter: end(days),
        issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
        extensions: try Certificate.Extensions {
          Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
          Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        }, issuerPrivateKey: issuer)
      try CertificateFile.write(
        [(certificateName, try pem(certificate), false), (keyName, key.pemRepresentation, true)], in: place,
        force: force)
      return Authority(folder: place, certificate: certificate, key: issuer, cluster: cluster)
    } catch let error as LinkFileError {
      throw error
    } catch {
      throw LinkFileError("no authority can be made in \(folder): \(error)")
    }
  }

  private init(folder: URL, certificate: Certificate, key: Certificate.PrivateKey, cluster: String) {
    (self.folder, self.certificate, self.key, self.cluster) = (folder, certificate, key, cluster)
  }

  /// The authority of a folder.
  package init(in folder: String) throws(LinkFileError) {
    let place = URL(filePath: folder)
    let path = place.appending(path: Self.certificateName).path
    let own = try LinkCertificate(file: path)
    let keyPath = place.appending(path: Self.keyName).path
    guard own.isAuthority, try own.belongs(toKey: keyPath) else {
      throw LinkFileError("\(keyPath) is not the key of the authority in \(path)")
    }
    do {
      key = try Certificate.PrivateKey(pemEncoded: try String(contentsOfFile: keyPath, encoding: .utf8))
    } catch {
      throw LinkFileError("\(keyPath) is no private key in PEM")
    }
    if let problem = own.problem(at: .now) { throw LinkFileError("\(path) \(problem)") }
    let names = own.certificate.subject.flatMap { Array($0) }.filter { $0.type == .RDNAttributeType.commonName }
    guard let cluster = names.first.map({ "\($0.value)" }), PeerIdentity.isName(cluster) else {
      throw LinkFileError("\(path) names no cluster; make an authority with swerve certs init")
    }
    self.folder = place
    certificate = own.certificate
    self.cluster = cluster
  }

  /// Makes a worker's certificate and key, `NAME.pem` and `NAME.key`. Answers their paths.
  ///
  /// - Parameter hosts: names and addresses that it is reached at, for tools that ask; links go by role.
  package func issue(
    _ role: LinkRole, name: String, file: String, hosts: [String], days: Double, force: Bool
  ) throws(LinkFileError) -> (certificate: String, key: String) {
    let identity = PeerIdentity(cluster: cluster, role: role, name: name)
    guard PeerIdentity.isName(name) else {
      throw LinkFileError(
        "a worker's name has letters, digits, dots and dashes, at most 64, not \(name.debugDescription)")
    }
    let own = P256.Signing.PrivateKey()
    do {
      let subject = try DistinguishedName {
        OrganizationName("swerve")
        CommonName("\(role.rawValue) \(name)")
      }
      let names: [GeneralName] = [.uniformResourceIdentifier(identity.uri)] + hosts.map(Self.generalName)
      let issued = try Certificate(
        version: .v3, serialNumber: .init(), publicKey: Certificate.PrivateKey(own).publicKey,
        notValidBefore: Self.begin, notValidAfter: min(Self.begin + days * 86_400 + 3600, certificate.notValidAfter),
        issuer: certificate.subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
        extensions: try Certificate.Extensions {
          Critical(BasicConstraints.notCertificateAuthority)
          Critical(KeyUsage(digitalSignature: true))
          try ExtendedKeyUsage([.serverAuth, .clientAuth])
          SubjectAlternativeNames(names)
        }, issuerPrivateKey: key)
      try CertificateFile.write(
        [("\(file).pem", try Self.pem(issued), false), ("\(file).key", own.pemRepresentation, true)], in: folder,
        force: force)
    } catch let error as LinkFileError {
      throw error
    } catch {
      throw LinkFileError("no certificate for \(identity) can be made: \(error)")
    }
    return (folder.appending(path: "\(file).pem").path, folder.appending(path: "\(file).key").path)
  }

  /// An hour ago: clocks of two hosts differ.
  private static var begin: Date { Date(timeIntervalSince1970: Date.now.timeIntervalSince1970.rounded(.down) - 3600) }
  private static func end(_ days: Int) -> Date { begin + Double(days) * 86_400 + 3600 }

  private static func pem(_ certificate: Certificate) throws -> String {
    try certificate.serializeAsPEM().pemString + "\n"
  }

  private static func generalName(_ host: String) -> GeneralName {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false).compactMap { UInt8($0) }
    if parts.count == 4, host.split(separator: ".").count == 4 {
      return .ipAddress(ASN1OctetString(contentBytes: parts[...]))
    }
    return .dnsName(host)
  }
}

/// Files of one folder that are written all or not at all.
enum CertificateFile {
  /// Secret ones are for their owner alone, from their first byte on.
  static func write(
    _ files: [(name: String, text: String, isSecret: Bool)], in folder: URL, force: Bool
  ) throws(LinkFileError) {
    if !force {
      for file in files where FileManager.default.fileExists(atPath: folder.appending(path: file.name).path) {
        throw LinkFileError(
          "\(folder.appending(path: file.name).path) exists already; give another name or folder, or --force to replace it"
        )
      }
    }
    for file in files {
      let path = folder.appending(path: file.name).path
      let passing = path + ".new"
      unlink(passing)
      let number = open(passing, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, file.isSecret ? 0o600 : 0o644)
      guard number >= 0 else { throw LinkFileError("\(path) cannot be written: \(String(cString: strerror(errno)))") }
      let bytes = Array(file.text.utf8)
      let count = Foundation.write(number, bytes, bytes.count)
      close(number)
      guard count == bytes.count, rename(passing, path) == 0 else {
        throw LinkFileError("\(path) cannot be written: \(String(cString: strerror(errno)))")
      }
    }
  }
}
