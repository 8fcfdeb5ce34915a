// TLS between workers of different hosts: certificates that say what a worker may be, and streams that are what they were
// before, but secret and known. The only room with certificates; it must not know what goes over a link.
// Start here; Tunnel carries the bytes, Authority makes certificates.

import Foundation
import NIOCore
import NIOPosix
import NIOSSL
package import SwerveTransfer
import Synchronization

/// Mutual TLS 1.3: both sides show a certificate of one authority, and the role in it is what they are.
package struct TLSSecurity: SocketSecurity {
  package let identity: PeerIdentity
  private let client: NIOSSLContext
  private let server: NIOSSLContext

  /// Files of this process.
  package struct Files: Sendable {
    package var certificate: String
    package var key: String
    package var authority: String

    package init(certificate: String, key: String, authority: String) {
      (self.certificate, self.key, self.authority) = (certificate, key, authority)
    }
  }

  /// Reads the files and checks that they fit: the certificate is of this authority, of its time and of that role, and
  /// the key is its own.
  ///
  /// - Throws: `LinkFileError`, one sentence that names the file.
  package init(_ files: Files, role: LinkRole) throws(LinkFileError) {
    let own = try LinkCertificate(file: files.certificate)
    let authority = try LinkCertificate(file: files.authority)
    guard let identity = own.identity else {
      throw LinkFileError("\(files.certificate) names no worker (spiffe://swerve/…); make one with swerve certs issue")
    }
    guard identity.role == role else {
      throw LinkFileError(
        "\(files.certificate) is for a \(identity.role.rawValue) worker and this is a \(role.rawValue) worker; make one with "
          + "swerve certs issue --role \(role.rawValue)")
    }
    if let problem = own.problem(at: .now) { throw LinkFileError("\(files.certificate) \(problem)") }
    if let problem = authority.problem(at: .now) { throw LinkFileError("\(files.authority) \(problem)") }
    guard own.isIssued(by: authority) else {
      throw LinkFileError("\(files.certificate) was not issued by the authority in \(files.authority)")
    }
    guard try own.belongs(toKey: files.key) else {
      throw LinkFileError("\(files.key) is not the key of \(files.certificate)")
    }
    self.identity = identity
    do {
      let chain = try NIOSSLCertificate.fromPEMFile(files.certificate).map { NIOSSLCertificateSource.certificate($0) }
      let key = NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(file: files.key, format: .pem))
      let roots = NIOSSLTrustRoots.certificates(try NIOSSLCertificate.fromPEMFile(files.authority))
      var client = TLSConfiguration.makeClientConfiguration()
      client.certificateChain = chain
      client.privateKey = key
      client.trustRoots = roots
      // Whoever it is, it is known by its role and cluster, not by the name that was dialled.
      client.certificateVerification = .noHostnameVerification
      client.minimumTLSVersion = .tlsv13
      var server = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: key)
      server.trustRoots = roots
      server.certificateVerification = .noHostnameVerification
      server.minimumTLSVersion = .tlsv13
      self.client = try NIOSSLContext(configuration: client)
      self.server = try NIOSSLContext(configuration: server)
    } catch {
      throw LinkFileError("\(files.certificate), \(files.key) and \(files.authority) cannot be used together: \(error)")
    }
  }

  package func secure(
    _ socket: StreamSocket, as side: SocketSide, peer: String, within seconds: Double
  ) throws(TransferError) -> SecuredSocket {
    let (near, far) = try StreamSocket.pair()
    let handshake = Handshake()
    let tunnel: Tunnel
    do {
      tunnel = try Tunnel.open(
        tls: socket, plain: far, context: side == .connecting ? client : server, side: side, handshake: handshake,
        seconds: seconds)
    } catch {
      throw .refused("\(peer) cannot be secured: \(TLSReason.sentence(handshake.error ?? error))")
    }
    guard let certificate = tunnel.peerCertificate, let identity = certificate.identity else {
      tunnel.close()
      throw .refused(
        "\(peer) has a certificate that names no worker (spiffe://swerve/…); make one with swerve certs issue")
    }
    return SecuredSocket(socket: near, peer: identity, whyEnded: { handshake.error.map { TLSReason.sentence($0) } })
  }
}

/// What TLS says went wrong, in words of an operator.
enum TLSReason {
  static func sentence(_ error: any Error) -> String {
    let text = String(describing: error)
    for (word, sentence) in known where text.contains(word) { return sentence }
    return text.split(whereSeparator: \.isNewline).joined(separator: " ")
  }

  private static let known: [(String, String)] = [
    ("ALERT_CERTIFICATE_EXPIRED", "the other side says that this certificate has expired; issue a new one"),
    (
      "ALERT_UNKNOWN_CA",
      "the other side does not know the authority of this certificate; use certificates of one swerve certs init"
    ),
    ("CERTIFICATE_REQUIRED", "the other side wants a certificate; give --tls-certificate, --tls-key and --tls-ca"),
    ("ALERT_BAD_CERTIFICATE", "the other side does not accept this certificate"),
    ("ALERT_CERTIFICATE_UNKNOWN", "the other side does not accept this certificate"),
    ("ALERT_UNSUPPORTED_CERTIFICATE", "the other side does not accept this kind of certificate"),
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "it shows no certificate"),
    (
      "CERTIFICATE_VERIFY_FAILED",
      "its certificate is of another authority, has expired or is not valid yet; see swerve certs show"
    ),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
    ("UNSUPPORTED_PROTOCOL", "it does not speak TLS 1.3"),
    ("PROTOCOL_VERSION", "it does not speak TLS 1.3"),
    ("uncleanShutdown", "it ended without a word"),
    ("connectTimeout", "the handshake took too long"),
  ]
}

/// What became of a handshake, and of the connection after it.
final class Handshake: Sendable {
  private let state = Mutex<(any Error)?>(nil)

  /// The first error; later ones follow from it.
  var error: (any Error)? { state.withLock { $0 } }
  func note(_ error: any Error) { state.withLock { $0 = $0 ?? error } }
}
