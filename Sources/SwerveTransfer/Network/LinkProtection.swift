/// What a worker's certificate allows it to be.
package enum LinkRole: String, Sendable, Hashable, CaseIterable {
  /// Has the weights; submits plans to data workers.
  case parameter
  /// Has keys and values; executes plans.
  case data
  case router
  case client
}

/// Who is at the other end, from a certificate that was checked.
package struct PeerIdentity: Sendable, Hashable, CustomStringConvertible {
  package var cluster: String
  package var role: LinkRole
  package var name: String

  package init(cluster: String, role: LinkRole, name: String) {
    (self.cluster, self.role, self.name) = (cluster, role, name)
  }

  /// `spiffe://swerve/CLUSTER/ROLE/NAME`, in a certificate's alternative names.
  package var uri: String { "spiffe://swerve/\(cluster)/\(role.rawValue)/\(name)" }

  package init?(uri: String) {
    let prefix = "spiffe://swerve/"
    guard uri.hasPrefix(prefix) else { return nil }
    let parts = uri.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3, let role = LinkRole(rawValue: parts[1]), Self.isName(parts[0]), Self.isName(parts[2]) else {
      return nil
    }
    self.init(cluster: parts[0], role: role, name: parts[2])
  }

  /// Letters, digits, dots, dashes and underscores; 64 at most.
  package static func isName(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
          || [0x2D, 0x2E, 0x5F].contains(byte)
      }
  }

  package var description: String { "\(role.rawValue) worker \(name) of cluster \(cluster)" }
}

/// Makes a stream secret and tells who is at its other end. Implemented with TLS outside this room.
package protocol SocketSecurity: Sendable {
  /// This process's own identity.
  var identity: PeerIdentity { get }

  /// Takes over a connected stream. Waits for the handshake, no longer than that. What comes out is a stream again.
  ///
  /// - Throws: one sentence: why the other side, or this one in its eyes, is not who it has to be.
  func secure(
    _ socket: StreamSocket, as side: SocketSide, peer: String, within seconds: Double
  ) throws(TransferError) -> SecuredSocket
}

package enum SocketSide: Sendable { case connecting, listening }

package struct SecuredSocket: Sendable {
  package var socket: StreamSocket
  package var peer: PeerIdentity
  /// Why the stream ended, where the protection knows.
  package var whyEnded: @Sendable () -> String?

  package init(
    socket: StreamSocket, peer: PeerIdentity, whyEnded: @escaping @Sendable () -> String? = { nil }
  ) {
    (self.socket, self.peer, self.whyEnded) = (socket, peer, whyEnded)
  }
}

/// How links to other hosts are protected: by certificates, or because somebody said that nobody else is on the network.
package struct LinkProtection: Sendable {
  /// nil: control messages are plaintext and anybody is believed.
  package var security: (any SocketSecurity)?
  package var encryption: LinkEncryption
  package var trustsNetwork: Bool

  /// - Parameter encryption: of data channels; nil: sealed where there are certificates.
  package init(
    security: (any SocketSecurity)? = nil, encryption: LinkEncryption? = nil, trustsNetwork: Bool = false
  ) {
    self.security = security
    self.encryption = encryption ?? (security == nil ? .none : .aesGCM)
    self.trustsNetwork = trustsNetwork
  }

  /// Why links with that address are not allowed, in one sentence; nil: they are.
  package func problem(with endpoint: Endpoint) -> String? {
    if security == nil && encryption == .aesGCM {
      return
        "--link-encryption aes-gcm needs certificates, or its keys would travel in plaintext; give --tls-certificate, "
        + "--tls-key and --tls-ca, which swerve certs init makes"
    }
    // Names are looked up only where it matters: that can take seconds.
    if security != nil && encryption == .aesGCM { return nil }
    if trustsNetwork || endpoint.isLoopback { return nil }
    if security == nil {
      return
        "a link with \(endpoint) would leave this machine unprotected; give --tls-certificate, --tls-key and --tls-ca, "
        + "which swerve certs init makes, or say --trusted-network where nobody else is on the network"
    }
    if encryption == .none {
      return
        "--link-encryption none sends keys and values to \(endpoint) in plaintext; say --trusted-network as well where "
        + "nobody else is on the network, or leave it out"
    }
    return nil
  }

  /// Whether a peer may be what it says it is.
  ///
  /// - Throws: `.refused` for another role, or one of another cluster.
  func check(_ peer: PeerIdentity, is role: LinkRole) throws(TransferError) {
    guard let security else { return }
    guard peer.cluster == security.identity.cluster else {
      throw .refused(
        "\(peer) is not of cluster \(security.identity.cluster); use certificates of one swerve certs init")
    }
    guard peer.role == role else {
      throw .refused(
        "\(peer) may not be a \(role.rawValue) worker; give it a certificate of swerve certs issue --role \(role.rawValue)"
      )
    }
  }
}
