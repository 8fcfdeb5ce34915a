import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import NIOSSL

/// TLS of the HTTP server: files in PEM.
package struct ServerTLS: Sendable, Hashable {
  /// The certificate, with what leads from it to its authority behind it.
  package var certificate: String?
  package var key: String?
  /// Authorities of clients' certificates; nil: those the system knows.
  package var authorities: String?
  /// Whether clients show a certificate: 0 no, 1 they may, 2 they must.
  package var requirement = 0

  package init() {}

  func problems() -> [String] {
    var found: [String] = []
    if (certificate == nil) != (key == nil) {
      found.append("--ssl-certfile and --ssl-keyfile are given together; one of them is missing.")
    }
    if !(0...2).contains(requirement) {
      found.append(
        "--ssl-cert-reqs must be 0 (no certificate), 1 (if there is one) or 2 (required), not \(requirement).")
    }
    if certificate == nil && key == nil && (authorities != nil || requirement != 0) {
      found.append("--ssl-ca-certs and --ssl-cert-reqs need --ssl-certfile and --ssl-keyfile.")
    }
    return found
  }

  /// Reads the files, to say what is wrong with them before anything is loaded.
  package func check() throws { _ = try server(HTTP1Channel.Configuration()) }

  var isOn: Bool { certificate != nil }

  /// The server's protocol: HTTP/1.1, over TLS where there is a certificate.
  ///
  /// - Throws: `ServerError` that names the file.
  func server(_ http: HTTP1Channel.Configuration) throws -> HTTPServerBuilder {
    guard let certificate, let key else { return .http1(configuration: http) }
    var configuration: TLSConfiguration
    do {
      configuration = .makeServerConfiguration(
        certificateChain: try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
      if let authorities {
        configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities))
      }
    } catch {
      let files = [certificate, key, authorities].compactMap { $0 }.joined(separator: ", ")
      throw ServerError.invalidTLS(files: files, reason: "\(error)")
    }
    configuration.applicationProtocols = ["http/1.1"]
    configuration.certificateVerification =
      switch requirement {
      case 0: .none
      case 1: .optionalVerification
      default: .noHostnameVerification
      }
    do {
      // Tried once here: what does not fit together is said before anything is served.
      _ = try NIOSSLContext(configuration: configuration)
      return try .tls(.http1(configuration: http), tlsConfiguration: configuration)
    } catch {
      throw ServerError.invalidTLS(files: "\(certificate), \(key)", reason: "\(error)")
    }
  }
}
